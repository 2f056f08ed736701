"""Styles: functions that redraw a finished picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from .colors import LUMA

Picture = UInt8[np.ndarray, "size size 3"]


def _luminance(picture: np.ndarray) -> np.ndarray:
    """Luma, [size, size] in 0..255."""
    return picture @ LUMA


def _bytes(values: np.ndarray) -> Picture:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _filtered(picture: np.ndarray, *filters: ImageFilter.Filter) -> np.ndarray:
    image = Image.fromarray(picture)
    for one in filters:
        image = image.filter(one)
    return np.asarray(image, dtype=np.float32)


def grayscale(picture: Picture, rng: np.random.Generator) -> Picture:
    """Luma alone."""
    return _bytes(np.repeat(_luminance(picture)[..., None], 3, axis=2))


def sepia(picture: Picture, rng: np.random.Generator) -> Picture:
    """An old brown print with dark corners."""
    size = len(picture)
    luma = _luminance(picture)[..., None] / 255
    print_ = np.array([58, 34, 18]) + luma * np.array([190, 178, 148])
    axis = np.square(np.linspace(-1, 1, size))
    return _bytes(print_ * (1.04 - 0.2 * (axis[:, None] + axis)[..., None]))


def sketch(picture: Picture, rng: np.random.Generator) -> Picture:
    """Pencil on paper: the picture divided by its own blur, which leaves the edges, and a light grey wash."""
    blurred = _filtered(picture, ImageFilter.GaussianBlur(len(picture) * 0.035))
    # The channel that falls most, so that two colours of one luminance have an edge, too.
    lines = np.clip(((picture + 12.0) / (blurred + 12.0)).min(axis=2), 0, 1) ** 1.7
    paper = np.array([250, 248, 242])
    wash = 0.78 + 0.22 * _luminance(picture) / 255
    return _bytes(paper * (lines * wash)[..., None])


def watercolor(picture: Picture, rng: np.random.Generator) -> Picture:
    """Flat pale washes that pool darker at their edges and end before the paper's rim."""
    size = len(picture)
    flat = _filtered(picture, ImageFilter.MedianFilter(2 * round(size / 32) + 1))
    pooled = flat - 0.7 * (_filtered(_bytes(flat), ImageFilter.GaussianBlur(size / 32)) - flat).clip(0)
    wet = _noise(size, 5, rng)
    wash = 255 - (255 - pooled) * (0.74 + 0.3 * (wet[..., None] - 0.5))
    axis = np.abs(np.linspace(-1, 1, size))
    rim = np.maximum(axis[:, None], axis) + 0.16 * (_noise(size, 9, rng) - 0.5)
    fade = np.clip((rim - 0.84) / 0.12, 0, 1)[..., None]
    return _bytes(wash * (1 - fade) + np.array([252, 250, 245]) * fade)


def mosaic(picture: Picture, rng: np.random.Generator) -> Picture:
    """Sixteen rows of square stones of one colour each, with light joints."""
    size = len(picture)
    image = Image.fromarray(picture)
    stones = np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=np.float32)
    stones = stones * rng.uniform(0.93, 1.07, (16, 16, 1))
    tiles = np.asarray(Image.fromarray(_bytes(stones)).resize((size, size), Image.Resampling.NEAREST), dtype=np.float32)
    joint = (np.arange(size) * 16 % size) < 16
    return _bytes(np.where((joint[:, None] | joint)[..., None], 0.72 * tiles + 0.28 * 225, tiles))


def cartoon(picture: Picture, rng: np.random.Generator) -> Picture:
    """Few flat saturated tones inside dark outlines."""
    size = len(picture)
    smooth = _filtered(picture, ImageFilter.MedianFilter(3))
    luma = _luminance(smooth)
    level = np.clip(np.round(luma / 51) * 51 + 8, 0, 255) / (luma + 1)
    vivid = luma[..., None] + 1.35 * (smooth - luma[..., None])
    shapes = _filtered(picture, ImageFilter.MedianFilter(4 * max(round(size / 64), 1) + 1))
    reach = 2 * max(round(size / 64), 1) + 1
    high = _filtered(_bytes(shapes), ImageFilter.MaxFilter(reach))
    low = _filtered(_bytes(shapes), ImageFilter.MinFilter(reach))
    ink = np.clip((high - low).max(axis=2) / 90 - 0.6, 0, 0.85)[..., None]
    return _bytes(vivid * level[..., None] * (1 - ink) + np.array([28, 24, 40]) * ink)


def _noise(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random values, [size, size] in [0, 1]."""
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells)).astype(np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255


STYLES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "grayscale": grayscale,
    "sepia": sepia,
    "sketch": sketch,
    "watercolor": watercolor,
    "mosaic": mosaic,
    "cartoon": cartoon,
}
"""Name of each style and its function: (picture uint8 [size, size, 3], generator) -> picture alike."""

COLORLESS: frozenset[str] = frozenset({"grayscale", "sepia", "sketch"})
"""Styles that show no colour: such scenes have no tint and their captions name no colour."""
