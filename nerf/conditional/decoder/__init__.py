"""Training of the category field (CLIP-NeRF, section 3.4), the decoder from codes to density and colour."""
