"""Antialiased shapes on a float canvas, in coordinates of the frame: x right and y down, both in [0, 1].

A canvas is Float32 [size, size, 3] in [0, 1]; a coverage is Float32 [size, size] in [0, 1], the share of each
pixel that a shape fills. Shapes have the same place and extent at every size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

Canvas = Float[np.ndarray, "size size 3"]
Coverage = Float[np.ndarray, "size size"]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Coverage, Coverage]:
    """x and y of the pixel centres, [size, size] each."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def inside(distance: Float[np.ndarray, "*shape"], size: int, softness: float = 1.0) -> Float[np.ndarray, "*shape"]:
    """Coverage of where ``distance`` (in frames) is negative; the edge is ``softness`` pixels wide."""
    return np.clip(0.5 - distance * (size / softness), 0, 1)


def paint(canvas: Canvas, color: Float[np.ndarray, "*shape"], coverage: Coverage) -> None:
    """Lay ``color`` ([3] or a canvas) over ``canvas`` in place."""
    canvas += (color - canvas) * coverage[..., None]


def gradient(size: int, top: Float[np.ndarray, " 3"], bottom: Float[np.ndarray, " 3"], end: float = 1.0) -> Canvas:
    """A canvas that runs from ``top`` at y = 0 to ``bottom`` at y = ``end`` and below."""
    share = np.clip(grid(size)[1][:, :1] / end, 0, 1)
    rows = top + (bottom - top) * share
    return np.repeat(rows[:, None].astype(np.float32), size, axis=1)


def disc(size: int, x: float, y: float, radius: float, softness: float = 1.0) -> Coverage:
    """A filled circle."""
    gx, gy = grid(size)
    return inside(np.hypot(gx - x, gy - y) - radius, size, softness)


def ellipse(size: int, x: float, y: float, across: float, down: float) -> Coverage:
    """A filled ellipse of half axes ``across`` and ``down``."""
    gx, gy = grid(size)
    return inside((np.hypot((gx - x) / across, (gy - y) / down) - 1) * min(across, down), size)


def discs(size: int, centres: Float[np.ndarray, "n 2"], radii: Float[np.ndarray, " n"]) -> Coverage:
    """Many small circles at once; each is painted into its own few pixels."""
    coverage = np.zeros((size, size), dtype=np.float32)
    gx, gy = grid(size)
    for (x, y), radius in zip(centres, radii, strict=True):
        reach = radius + 1 / size
        rows = slice(max(int((y - reach) * size), 0), max(int((y + reach) * size) + 1, 0))
        columns = slice(max(int((x - reach) * size), 0), max(int((x + reach) * size) + 1, 0))
        patch = inside(np.hypot(gx[rows, columns] - x, gy[rows, columns] - y) - radius, size)
        np.maximum(coverage[rows, columns], patch, out=coverage[rows, columns])
    return coverage


def rectangle(size: int, left: float, top: float, right: float, bottom: float) -> Coverage:
    """A filled upright rectangle."""
    gx, gy = grid(size)
    across = inside(np.maximum(left - gx[:1], gx[:1] - right), size)
    down = inside(np.maximum(top - gy[:, :1], gy[:, :1] - bottom), size)
    return across * down


def wave(
    size: int, rng: np.random.Generator, level: float, amplitude: float, periods: float
) -> Float[np.ndarray, "1 size"]:
    """A smooth random height over x: two sines around ``level``, the slower of ``periods`` in the frame."""
    x = grid(size)[0][:1]
    first, second = rng.uniform(0, 2 * np.pi, 2).tolist()
    turn = np.float32(2 * np.pi * periods)
    return level + amplitude * (0.7 * np.sin(turn * x + first) + 0.3 * np.sin(1.9 * turn * x + second))


def below(size: int, height: Float[np.ndarray, "1 size"] | float, softness: float = 1.0) -> Coverage:
    """Everything under a line: y greater than ``height``."""
    return inside(height - grid(size)[1], size, softness)
