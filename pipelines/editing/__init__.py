"""CLIP-NeRF (arXiv 2112.05139): edit an object of a category by text or picture."""
