"""Inversion: codes and pose of the object in a picture (CLIP-NeRF, section 3.5)."""
