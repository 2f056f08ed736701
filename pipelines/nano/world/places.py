"""The seven places of the nano world, painted anew for every seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .colors import mix
from .painting import Canvas, below, disc, discs, ellipse, gradient, grid, inside, paint, rectangle, wave


def rgb(red: int, green: int, blue: int) -> Float[np.ndarray, " 3"]:
    """An sRGB colour from bytes."""
    return np.array((red, green, blue), dtype=np.float32) / 255


WHITE = rgb(255, 255, 255)


def _clouds(canvas: Canvas, rng: np.random.Generator, lowest: float) -> None:
    """One or two soft clouds above ``lowest``."""
    size = len(canvas)
    for _ in range(rng.integers(1, 3)):
        x, y, width = rng.uniform(0.05, 0.95), rng.uniform(0.06, lowest), rng.uniform(0.10, 0.17)
        puffs = [
            (x, y, width),
            (x - 0.6 * width, y + 0.02, 0.6 * width),
            (x + 0.65 * width, y + 0.02, 0.65 * width),
        ]
        cloud = np.zeros((size, size), dtype=np.float32)
        for cx, cy, half in puffs:
            np.maximum(cloud, ellipse(size, cx, cy, half, 0.42 * half), out=cloud)
        paint(canvas, WHITE, cloud * np.float32(0.85))


def _sun(canvas: Canvas, rng: np.random.Generator, y: float, color: Float[np.ndarray, " 3"]) -> None:
    """A sun with a halo at the left or right."""
    size = len(canvas)
    x = rng.uniform(0.08, 0.28) if rng.random() < 0.5 else rng.uniform(0.72, 0.92)
    radius = rng.uniform(0.07, 0.10)
    paint(canvas, color, disc(size, x, y, radius * 1.5, softness=size * 0.12) * np.float32(0.5))
    paint(canvas, color, disc(size, x, y, radius))


def beach(size: int, rng: np.random.Generator) -> Canvas:
    """Sky, a band of turquoise sea, foam and bright sand."""
    canvas = gradient(size, rgb(118, 198, 246), rgb(206, 238, 252), 0.4)
    horizon = rng.uniform(0.30, 0.40)
    _sun(canvas, rng, rng.uniform(0.09, 0.17), rgb(255, 240, 150))
    if rng.random() < 0.5:
        _clouds(canvas, rng, 0.18)
    water = gradient(size, rgb(24, 134, 190), mix(rgb(60, 206, 200), rgb(50, 180, 216), rng.random()), 0.62)
    paint(canvas, water, below(size, horizon))
    shore = wave(size, rng, horizon + rng.uniform(0.17, 0.23), 0.022, rng.uniform(0.7, 1.3))
    paint(canvas, WHITE, below(size, shore, 1.5))
    sand = gradient(size, rgb(236, 204, 140), mix(rgb(250, 228, 170), rgb(244, 214, 160), rng.random()), 0.8)
    paint(canvas, sand, below(size, shore + 0.035, 1.5))
    return canvas


def snow(size: int, rng: np.random.Generator) -> Canvas:
    """White hills with firs under a pale grey sky, and falling flakes."""
    canvas = gradient(size, rgb(150, 172, 200), rgb(214, 224, 236), 0.5)
    gx, gy = grid(size)
    far = wave(size, rng, rng.uniform(0.40, 0.46), 0.035, rng.uniform(0.6, 1.1))
    near = wave(size, rng, rng.uniform(0.60, 0.66), 0.03, rng.uniform(0.5, 0.9))
    paint(canvas, rgb(222, 231, 243), below(size, far))
    for side in (rng.uniform(0.02, 0.18), rng.uniform(0.82, 0.98)):
        foot, height = rng.uniform(0.56, 0.62), rng.uniform(0.26, 0.36)
        rise = np.clip((foot - gy) / height, 0, 1)
        fir = inside(np.abs(gx - side) - 0.11 * (1 - rise) * (0.72 + 0.28 * (3 * rise % 1 < 0.5)), size)
        paint(
            canvas,
            mix(rgb(62, 110, 112), rgb(80, 122, 132), rng.random()),
            fir * (gy < foot) * (gy > foot - height),
        )
    ground = gradient(size, rgb(236, 242, 250), WHITE, 0.9)
    paint(canvas, ground, below(size, near))
    flakes = rng.integers(10, 17)
    centres = rng.uniform(0, 1, (flakes, 2))
    paint(canvas, WHITE, discs(size, centres, rng.uniform(0.017, 0.028, flakes)) * np.float32(0.95))
    return canvas


def night_sky(size: int, rng: np.random.Generator) -> Canvas:
    """Deep blue to violet, with stars and a full or crescent moon."""
    bottom = mix(rgb(78, 62, 150), rgb(48, 82, 152), rng.random())
    canvas = gradient(size, rgb(12, 15, 52), bottom)
    stars = rng.integers(14, 22)
    centres = rng.uniform(0, 1, (stars, 2))
    bright = discs(size, centres, rng.uniform(0.011, 0.021, stars))
    paint(canvas, rgb(255, 250, 224), bright)
    x = rng.uniform(0.10, 0.24) if rng.random() < 0.5 else rng.uniform(0.76, 0.90)
    y, radius = rng.uniform(0.12, 0.22), rng.uniform(0.085, 0.115)
    paint(canvas, rgb(150, 150, 220), disc(size, x, y, radius * 1.3, softness=size * 0.12) * np.float32(0.45))
    moon = disc(size, x, y, radius)
    if rng.random() < 0.5:
        bite = int(rng.choice([-1, 1])) * radius * rng.uniform(0.6, 0.9)
        moon = moon * (1 - disc(size, x + bite, y - 0.25 * radius, radius * 0.95))
    paint(canvas, rgb(255, 240, 190), moon)
    return canvas


def meadow(size: int, rng: np.random.Generator) -> Canvas:
    """Green hills with flowers under a blue sky with clouds."""
    canvas = gradient(size, rgb(92, 170, 240), rgb(190, 226, 250), 0.5)
    _clouds(canvas, rng, 0.22)
    far = wave(size, rng, rng.uniform(0.40, 0.47), 0.04, rng.uniform(0.6, 1.1))
    near = wave(size, rng, rng.uniform(0.56, 0.62), 0.03, rng.uniform(0.5, 0.9))
    warmth = rng.random()
    paint(canvas, mix(rgb(92, 176, 92), rgb(120, 184, 84), warmth), below(size, far))
    grass = gradient(size, mix(rgb(112, 196, 84), rgb(142, 204, 80), warmth), rgb(66, 150, 62))
    paint(canvas, grass, below(size, near))
    flowers = rng.integers(7, 13)
    centres = np.stack([rng.uniform(0, 1, flowers), rng.uniform(0.68, 0.98, flowers)], axis=1)
    petals = [rgb(255, 255, 255), rgb(255, 220, 80), rgb(246, 120, 170)][rng.integers(3)]
    paint(canvas, petals, discs(size, centres, rng.uniform(0.016, 0.026, flowers)))
    return canvas


def desert(size: int, rng: np.random.Generator) -> Canvas:
    """Orange dunes, lit from one side, under a glowing evening sky."""
    canvas = gradient(size, mix(rgb(240, 150, 110), rgb(228, 140, 130), rng.random()), rgb(255, 224, 160), 0.5)
    _sun(canvas, rng, rng.uniform(0.14, 0.26), rgb(255, 246, 204))
    gx, gy = grid(size)
    light = int(rng.choice([-1, 1]))
    levels = (rng.uniform(0.40, 0.46), rng.uniform(0.54, 0.60), rng.uniform(0.70, 0.76))
    shades = ((216, 144, 86), (230, 166, 104), (242, 188, 128))
    for level, shade in zip(levels, shades, strict=True):
        peak, width = rng.uniform(0.1, 0.9), rng.uniform(0.5, 0.8)
        crest = level - 0.09 * np.clip(1 - np.abs(gx[:1] - peak) / width, 0, 1) ** 2 + 0.02
        dune = below(size, crest)
        paint(canvas, rgb(*shade), dune)
        lee = peak + light * (0.02 + 0.9 * (gy - crest))
        paint(canvas, rgb(*shade) * np.float32(0.84), dune * inside(light * (lee - gx), size, 2.0))
    return canvas


def _swell(canvas: Canvas, rng: np.random.Generator, level: float, color: Float[np.ndarray, " 3"]) -> None:
    """One row of waves with a light crest."""
    size = len(canvas)
    crest = wave(size, rng, level, 0.018, rng.uniform(1.6, 2.2))
    paint(canvas, mix(color, WHITE, 0.5), below(size, crest))
    paint(canvas, color, below(size, crest + 0.04, 2.5))


def sea(size: int, rng: np.random.Generator) -> Canvas:
    """Rows of blue waves up to a high horizon; `sea_front` lays the nearest wave over the object."""
    canvas = gradient(size, rgb(150, 200, 236), rgb(226, 240, 248), 0.26)
    _clouds(canvas, rng, 0.12)
    depth = rng.random()
    horizon = rng.uniform(0.22, 0.30)
    paint(canvas, mix(rgb(46, 128, 190), rgb(40, 116, 170), depth), below(size, horizon))
    for step, level in enumerate(np.linspace(horizon + 0.10, 0.66, 3).tolist()):
        color = mix(rgb(40, 118, 188), rgb(16, 62, 134), (step + depth) / 3)
        _swell(canvas, rng, level + rng.uniform(-0.015, 0.015), color)
    return canvas


def sea_front(canvas: Canvas, rng: np.random.Generator) -> None:
    """The wave that an object floats in, laid over its lower edge in place."""
    _swell(canvas, rng, rng.uniform(0.77, 0.81), rgb(14, 56, 124))


def room(size: int, rng: np.random.Generator) -> Canvas:
    """A pastel wall with a framed picture or a window, a skirting board, a wooden floor and a rug."""
    walls = (
        rgb(240, 222, 196),
        rgb(206, 222, 206),
        rgb(200, 214, 230),
        rgb(238, 208, 202),
        rgb(222, 210, 230),
    )
    wall = walls[rng.integers(len(walls))]
    canvas = gradient(size, wall, wall * np.float32(0.92), 0.6)
    edge = rng.uniform(0.60, 0.66)
    side = rng.uniform(0.04, 0.12) if rng.random() < 0.5 else rng.uniform(0.64, 0.72)
    top = rng.uniform(0.06, 0.12)
    if rng.random() < 0.5:
        paint(canvas, rgb(252, 250, 246), rectangle(size, side, top, side + 0.25, top + 0.34))
        paint(canvas, rgb(150, 208, 244), rectangle(size, side + 0.03, top + 0.03, side + 0.22, top + 0.31))
        paint(canvas, rgb(252, 250, 246), rectangle(size, side + 0.112, top, side + 0.138, top + 0.34))
        paint(canvas, rgb(252, 250, 246), rectangle(size, side, top + 0.157, side + 0.25, top + 0.183))
    else:
        paint(canvas, rgb(132, 88, 52), rectangle(size, side, top, side + 0.25, top + 0.22))
        sheet = rectangle(size, side + 0.03, top + 0.03, side + 0.22, top + 0.19)
        paint(canvas, rgb(244, 234, 214), sheet)
        paint(canvas, rgb(110, 170, 150), sheet * ellipse(size, side + 0.125, top + 0.19, 0.085, 0.08))
    wood = mix(rgb(190, 132, 80), rgb(160, 104, 66), rng.random())
    paint(canvas, gradient(size, wood, wood * np.float32(0.84)), below(size, edge))
    for plank in (0.11, 0.22, 0.33):
        paint(canvas, wood * np.float32(0.74), rectangle(size, 0.0, edge + plank, 1.0, edge + plank + 0.014))
    paint(canvas, rgb(250, 246, 238), rectangle(size, 0.0, edge - 0.03, 1.0, edge))
    rugs = (rgb(176, 64, 66), rgb(60, 104, 140), rgb(84, 132, 104), rgb(214, 170, 92))
    rug = rugs[rng.integers(len(rugs))]
    paint(canvas, mix(rug, WHITE, 0.6), ellipse(size, 0.5, 0.88, 0.46, 0.125))
    paint(canvas, rug, ellipse(size, 0.5, 0.88, 0.41, 0.10))
    return canvas


PLACES: dict[str, Callable[[int, np.random.Generator], Canvas]] = {
    "beach": beach,
    "snow": snow,
    "night sky": night_sky,
    "meadow": meadow,
    "desert": desert,
    "sea": sea,
    "room": room,
}
"""Name of each place and its painter: (size in pixels, generator) -> canvas [size, size, 3] in [0, 1]."""
