"""PVD (arXiv 2211.15977): turn any radiance field into one of another family. The method is `nerf.distillation`'s."""

from nerf.distillation.training import distill

__all__ = ["distill"]
