"""CLIP-NeRF: edits, inversion and deformation, with the judge of edits."""
