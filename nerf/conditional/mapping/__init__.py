"""Training of the code mappers (CLIP-NeRF, section 3.4), and optimisation of codes for a single prompt."""
