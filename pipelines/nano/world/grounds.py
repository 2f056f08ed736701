"""Plain and patterned grounds in one colour of the nano world; patterns are on a pale tone of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .colors import COLORS, mix
from .painting import Canvas, Coverage, grid, inside, paint


def _stripes(size: int, rng: np.random.Generator) -> Coverage:
    """Straight bands, level, upright or oblique."""
    gx, gy = grid(size)
    angle = np.float32(rng.integers(4) * np.pi / 4)
    period = rng.uniform(0.18, 0.26)
    along = (gx * np.cos(angle) + gy * np.sin(angle)) / period + rng.random()
    return inside((np.abs(along % 1 - 0.5) - 0.25) * period, size)


def _dots(size: int, rng: np.random.Generator) -> Coverage:
    """Discs in rows, every second row shifted by half a period."""
    gx, gy = grid(size)
    period = rng.uniform(0.20, 0.27)
    x, y = gx / period + rng.random(), gy / period + rng.random()
    row = np.floor(y)
    dx, dy = (x + 0.5 * (row % 2)) % 1 - 0.5, y - row - 0.5
    return inside((np.hypot(dx, dy) - 0.31) * period, size)


def _checks(size: int, rng: np.random.Generator) -> Coverage:
    """A chessboard."""
    gx, gy = grid(size)
    period = rng.uniform(0.24, 0.34)
    x = inside((np.abs((gx[:1] / period + rng.random()) % 1 - 0.5) - 0.25) * period, size)
    y = inside((np.abs((gy[:, :1] / period + rng.random()) % 1 - 0.5) - 0.25) * period, size)
    return x + y - 2 * x * y


def _zigzags(size: int, rng: np.random.Generator) -> Coverage:
    """Level bands that go up and down in straight pieces."""
    gx, gy = grid(size)
    period, across = rng.uniform(0.21, 0.28), rng.uniform(0.25, 0.33)
    bend = np.abs((gx / across + rng.random()) % 1 - 0.5) * 0.24
    return inside((np.abs(((gy + bend) / period + rng.random()) % 1 - 0.5) - 0.25) * period, size)


def _rings(size: int, rng: np.random.Generator) -> Coverage:
    """Circles around a point near the middle."""
    gx, gy = grid(size)
    period = rng.uniform(0.19, 0.26)
    x, y = rng.uniform(0.4, 0.6, 2).tolist()
    radius = np.hypot(gx - x, gy - y) / period + rng.random()
    return inside((np.abs(radius % 1 - 0.5) - 0.25) * period, size)


LINEN = np.array([226, 200, 164], dtype=np.float32) / 255

PATTERNS: dict[str, Callable[[int, np.random.Generator], Coverage]] = {
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "zigzags": _zigzags,
    "rings": _rings,
}
"""Name of each pattern and its painter: (size in pixels, generator) -> coverage by the stronger tone."""

GROUNDS: tuple[str, ...] = ("plain", *PATTERNS)


def paint_ground(kind: str, color: str, size: int, rng: np.random.Generator) -> Canvas:
    """The ground ``kind`` (a name of `GROUNDS`) in ``color``, [size, size, 3] in [0, 1], lit from above."""
    tone = _vary(COLORS[color], rng)
    light = rng.uniform(0.3, 0.7)
    gx, gy = grid(size)
    glow = 1.05 - 0.18 * (np.square(gx - np.float32(light)) + np.square(gy - 0.3))
    if kind == "plain":
        return np.clip(tone * glow[..., None], 0, 1)
    canvas = np.empty((size, size, 3), dtype=np.float32)
    canvas[:] = _pale(color, tone)
    paint(canvas, tone, PATTERNS[kind](size, rng).astype(np.float32))
    return np.clip(canvas * glow[..., None], 0, 1)


def _vary(tone: Float[np.ndarray, " 3"], rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """A random tone near ``tone`` that still has the same colour name."""
    # In proportion to the chroma, so that black, white and grey stay neutral.
    drift = rng.uniform(-0.06, 0.06, 3) * np.ptp(tone)
    return np.clip(tone * rng.uniform(0.94, 1.04) + drift, 0, 1).astype(np.float32)


def _pale(color: str, tone: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """The second tone of a pattern: nearly white; for white the beige of linen."""
    if color == "white":
        return LINEN
    return mix(tone, np.ones(3, dtype=np.float32), 0.8)
