"""Normalization of a category field's codes and of embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

CodeName = Literal["shape", "appearance"]
"""One of the two codes of an object of a category field."""
CODE_NAMES: tuple[CodeName, ...] = ("shape", "appearance")
"""Both, in the order in which functions take them."""


def whiten(
    codes: Float[Tensor, "*n c"], mean: Float[Tensor, " c"], factor: Float[Tensor, "c c"]
) -> Float[Tensor, "*n c"]:
    """Solve ``codes = mean + factor z`` for z, where ``factor`` is lower triangular. Differentiable."""
    offset = (codes - mean).reshape(-1, len(mean))
    return torch.linalg.solve_triangular(factor, offset.T, upper=False).T.reshape(codes.shape)


def normalize_rms(embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Scale each row to a root mean square of one: unit length times the square root of the width.

    Raises:
        ValueError: a row is zero or not finite.
    """
    lengths = embedding.float().norm(dim=-1, keepdim=True)
    if not torch.isfinite(lengths).all() or (lengths == 0).any():
        raise ValueError("an embedding is zero or not finite; remove the picture or sound that it was computed from")
    return embedding / lengths * embedding.shape[-1] ** 0.5
