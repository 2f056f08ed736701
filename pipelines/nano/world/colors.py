"""The eleven colours of the nano world, as sRGB values in [0, 1]."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

COLORS: dict[str, Float[np.ndarray, " 3"]] = {
    name: np.array(rgb, dtype=np.float32) / 255
    for name, rgb in {
        "red": (218, 48, 50),
        "orange": (247, 142, 36),
        "yellow": (252, 214, 62),
        "green": (66, 168, 82),
        "blue": (44, 104, 218),
        "purple": (128, 70, 190),
        "pink": (248, 146, 190),
        "brown": (134, 86, 52),
        "black": (36, 36, 44),
        "white": (244, 244, 242),
        "gray": (148, 152, 160),
    }.items()
}
"""English's basic colour terms (Berlin and Kay, 1969): one word each, easy to tell apart."""

LUMA: Float[np.ndarray, " 3"] = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def mix(first: Float[np.ndarray, " 3"], second: Float[np.ndarray, " 3"], share: float) -> Float[np.ndarray, " 3"]:
    """The colour ``share`` of the way from ``first`` to ``second``."""
    return (first + (second - first) * np.float32(share)).astype(np.float32)
