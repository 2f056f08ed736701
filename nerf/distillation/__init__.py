"""PVD (arXiv 2211.15977): distillation of one radiance field into another."""
