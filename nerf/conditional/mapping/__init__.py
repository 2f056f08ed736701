"""Training of the code mappers (CLIP-NeRF, section 3.3), and optimisation of codes for a single prompt."""
