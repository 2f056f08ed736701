"""Training of the category field (CLIP-NeRF, section 3.1), the decoder from codes to density and colour."""
