"""Gaussian splats: training, starts from depth maps, and files that other programs open."""
