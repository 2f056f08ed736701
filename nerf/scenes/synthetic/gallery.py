"""Seven scenes of solids, each about the size of the unit sphere, z up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from .primitives import Solid, Solids

RED, ORANGE, YELLOW, GREEN = (0.86, 0.2, 0.18), (0.95, 0.5, 0.14), (0.97, 0.78, 0.2), (0.3, 0.66, 0.3)
TEAL, BLUE, PURPLE, PINK = (0.13, 0.6, 0.62), (0.18, 0.4, 0.8), (0.5, 0.3, 0.7), (0.95, 0.6, 0.68)
WHITE, CREAM, STONE, GRAY = (0.96, 0.96, 0.97), (0.95, 0.89, 0.77), (0.87, 0.82, 0.72), (0.55, 0.57, 0.6)
WOOD, BARK, DARK, GOLD = (0.72, 0.5, 0.3), (0.42, 0.28, 0.18), (0.13, 0.14, 0.17), (0.85, 0.65, 0.2)


def blocks() -> Iterator[Solid]:
    """A castle of toy blocks on a tray."""
    yield Solid("box", (0, 0, -0.62), (0.82, 0.82, 0.05), WOOD)
    for x, color in ((-0.38, RED), (0.38, BLUE)):
        yield Solid("box", (x, 0.3, -0.39), (0.17, 0.17, 0.18), color)
        yield Solid("box", (x, 0.3, -0.04), (0.15, 0.15, 0.17), YELLOW if x < 0 else GREEN, (0, 0, 12 * x))
        yield Solid("tube", (x, 0.3, 0.32), (0.19, 0.19, 0.19), RED if x > 0 else PURPLE, top=0)
    yield Solid("box", (0, 0.3, -0.33), (0.21, 0.12, 0.06), CREAM)
    yield Solid("box", (0, 0.3, -0.2), (0.21, 0.1, 0.07), ORANGE)
    yield Solid("gable", (0, 0.3, -0.02), (0.21, 0.13, 0.11), TEAL)
    yield Solid("box", (-0.42, -0.4, -0.42), (0.15, 0.15, 0.15), TEAL, (0, 0, 28))
    yield Solid("box", (-0.38, -0.38, -0.16), (0.11, 0.11, 0.11), ORANGE, (0, 0, -16))
    yield Solid("pyramid", (-0.38, -0.38, 0.07), (0.11, 0.11, 0.12), YELLOW, (0, 0, -16))
    yield Solid("tube", (0.1, -0.5, -0.42), (0.14, 0.14, 0.15), PINK)
    yield Solid("ball", (0.1, -0.5, -0.13), (0.14, 0.14, 0.14), BLUE, shine=0.5)
    yield Solid("tube", (0.52, -0.36, -0.45), (0.12, 0.12, 0.2), GREEN, (90, 0, 35))
    yield Solid("box", (0.5, -0.62, -0.5), (0.1, 0.07, 0.07), PURPLE, (0, 0, -30))


def temple() -> Iterator[Solid]:
    """A small temple with columns all around, on three steps."""
    for step in range(3):
        size = 0.92 - 0.09 * step
        yield Solid("box", (0, 0, -0.66 + 0.08 * step), (size, size * 0.74, 0.04), STONE)
    places = [(x, side * 0.44) for x in (-0.6, -0.3, 0, 0.3, 0.6) for side in (-1, 1)]
    for x, y in [*places, (-0.6, 0.15), (-0.6, -0.15), (0.6, 0.15), (0.6, -0.15)]:
        yield Solid("box", (x, y, -0.44), (0.09, 0.09, 0.02), CREAM)
        yield Solid("tube", (x, y, -0.12), (0.068, 0.068, 0.31), WHITE, top=0.82)
        yield Solid("box", (x, y, 0.21), (0.085, 0.085, 0.025), GOLD, shine=0.4)
    yield Solid("box", (0, 0, -0.16), (0.36, 0.22, 0.3), (0.72, 0.36, 0.28))
    yield Solid("box", (0.362, 0, -0.2), (0.01, 0.08, 0.22), DARK)
    yield Solid("box", (0, 0, 0.275), (0.72, 0.56, 0.045), CREAM)
    yield Solid("box", (0, 0, 0.345), (0.75, 0.59, 0.025), BLUE)
    yield Solid("gable", (0, 0, 0.51), (0.74, 0.58, 0.14), (0.82, 0.4, 0.26))
    for x in (-0.74, 0.74):
        yield Solid("gable", (x, 0, 0.47), (0.012, 0.42, 0.09), CREAM)
        yield Solid("ball", (x, 0, 0.7), (0.06, 0.06, 0.06), GOLD, shine=0.6)


def robot() -> Iterator[Solid]:
    """A friendly robot that waves."""
    yield Solid("tube", (0, 0, -0.9), (0.52, 0.52, 0.04), (0.34, 0.36, 0.42))
    for x in (-0.17, 0.17):
        yield Solid("box", (x, -0.05, -0.8), (0.13, 0.2, 0.065), ORANGE)
        yield Solid("tube", (x, 0, -0.63), (0.075, 0.075, 0.14), GRAY, shine=0.4)
    yield Solid("box", (0, 0, -0.22), (0.34, 0.23, 0.3), TEAL, shine=0.3)
    yield Solid("box", (0, -0.23, -0.18), (0.22, 0.02, 0.18), CREAM)
    for x, color in ((-0.12, RED), (0, YELLOW), (0.12, GREEN)):
        yield Solid("ball", (x, -0.25, -0.1), (0.042, 0.042, 0.042), color, shine=0.5)
    yield Solid("box", (0, -0.245, -0.26), (0.16, 0.02, 0.04), BLUE)
    yield Solid("box", (0, 0.27, -0.2), (0.2, 0.08, 0.2), PURPLE)
    yield Solid("tube", (0, 0, 0.12), (0.12, 0.12, 0.06), GRAY, shine=0.4)
    yield Solid("box", (0, 0, 0.42), (0.3, 0.24, 0.25), TEAL, shine=0.3)
    yield Solid("box", (0, -0.24, 0.43), (0.24, 0.015, 0.19), (0.16, 0.2, 0.28))
    for x in (-0.11, 0.11):
        yield Solid("ball", (x, -0.25, 0.49), (0.075, 0.045, 0.075), WHITE, shine=0.4)
        yield Solid("ball", (x, -0.29, 0.49), (0.035, 0.025, 0.035), BLUE, shine=0.6)
        yield Solid("tube", (2.9 * x, 0, 0.44), (0.08, 0.08, 0.04), ORANGE, (0, 90, 0))
        yield Solid("ball", (3.45 * x, 0, -0.02), (0.1, 0.1, 0.1), ORANGE)
    yield Solid("box", (0, -0.25, 0.32), (0.12, 0.015, 0.025), YELLOW)
    yield Solid("tube", (0, 0, 0.75), (0.02, 0.02, 0.1), GRAY)
    yield Solid("ball", (0, 0, 0.88), (0.06, 0.06, 0.06), RED, shine=0.6)
    yield Solid("tube", (-0.44, 0, -0.2), (0.058, 0.058, 0.2), GRAY, (0, 18, 0), shine=0.4)
    yield Solid("ball", (-0.51, 0, -0.42), (0.09, 0.09, 0.09), ORANGE)
    yield Solid("tube", (0.5, 0, 0.15), (0.058, 0.058, 0.2), GRAY, (0, 35, 0), shine=0.4)
    yield Solid("ball", (0.62, 0, 0.34), (0.09, 0.09, 0.09), ORANGE)


def snowman() -> Iterator[Solid]:
    """A snowman with a scarf, a fir and presents."""
    yield Solid("tube", (0, 0, -0.78), (0.86, 0.86, 0.06), (0.86, 0.91, 0.97), top=0.96)
    yield Solid("ball", (-0.1, 0, -0.42), (0.36, 0.36, 0.34), WHITE)
    yield Solid("ball", (-0.1, 0, 0.07), (0.27, 0.27, 0.26), WHITE)
    yield Solid("ball", (-0.1, 0, 0.45), (0.21, 0.21, 0.2), WHITE)
    yield Solid("tube", (-0.1, 0, 0.28), (0.215, 0.215, 0.05), RED)
    yield Solid("box", (0.0, -0.22, 0.14), (0.05, 0.025, 0.14), RED, (-14, 0, 8))
    yield Solid("tube", (-0.1, -0.27, 0.45), (0.05, 0.05, 0.11), ORANGE, (90, 0, 0), top=0)
    for x in (-0.18, -0.02):
        yield Solid("ball", (x, -0.18, 0.52), (0.03, 0.02, 0.03), DARK, shine=0.6)
    for z, y in ((0.18, -0.25), (0.05, -0.265), (-0.08, -0.235)):
        yield Solid("ball", (-0.1, y, z), (0.032, 0.022, 0.032), DARK, shine=0.6)
    yield Solid("tube", (-0.1, 0, 0.61), (0.25, 0.25, 0.02), DARK, shine=0.3)
    yield Solid("tube", (-0.1, 0, 0.75), (0.15, 0.15, 0.14), DARK, top=1.1, shine=0.3)
    yield Solid("tube", (-0.1, 0, 0.67), (0.155, 0.155, 0.03), PURPLE)
    yield Solid("tube", (-0.46, 0, 0.2), (0.02, 0.02, 0.2), BARK, (0, -60, 0))
    yield Solid("tube", (0.24, 0, 0.22), (0.02, 0.02, 0.2), BARK, (0, 55, 0))
    yield Solid("tube", (0.42, 0.42, -0.64), (0.06, 0.06, 0.1), BARK)
    for level, radius in enumerate((0.3, 0.24, 0.17)):
        yield Solid("tube", (0.42, 0.42, -0.38 + 0.22 * level), (radius, radius, 0.2), (0.13, 0.48, 0.3), top=0)
    yield Solid("ball", (0.42, 0.42, 0.28), (0.05, 0.05, 0.05), YELLOW, shine=0.5)
    yield Solid("box", (0.42, -0.34, -0.6), (0.13, 0.13, 0.12), BLUE, (0, 0, 20))
    yield Solid("box", (0.42, -0.34, -0.6), (0.135, 0.03, 0.125), YELLOW, (0, 0, 20))
    yield Solid("box", (0.42, -0.34, -0.6), (0.03, 0.135, 0.125), YELLOW, (0, 0, 20))
    yield Solid("box", (0.6, -0.02, -0.64), (0.1, 0.1, 0.08), PINK, (0, 0, -25))
    yield Solid("box", (0.6, -0.02, -0.64), (0.105, 0.025, 0.085), GREEN, (0, 0, -25))


def still_life() -> Iterator[Solid]:
    """Fruit, a bottle, books and a candle on a round table."""
    yield Solid("tube", (0, 0, -0.5), (0.9, 0.9, 0.035), WOOD, shine=0.3)
    yield Solid("tube", (0, 0, -0.7), (0.1, 0.1, 0.17), BARK)
    yield Solid("tube", (0, 0, -0.88), (0.42, 0.42, 0.03), BARK, top=0.6)
    yield Solid("tube", (-0.32, 0.34, -0.19), (0.16, 0.16, 0.28), (0.1, 0.42, 0.26), shine=0.7)
    yield Solid("tube", (-0.32, 0.34, 0.16), (0.16, 0.16, 0.07), (0.1, 0.42, 0.26), top=0.4, shine=0.7)
    yield Solid("tube", (-0.32, 0.34, 0.34), (0.064, 0.064, 0.11), (0.1, 0.42, 0.26), shine=0.7)
    yield Solid("tube", (-0.32, 0.34, 0.47), (0.05, 0.05, 0.03), WOOD)
    yield Solid("tube", (-0.32, 0.34, -0.18), (0.165, 0.165, 0.12), CREAM)
    yield Solid("tube", (-0.3, -0.36, -0.42), (0.22, 0.22, 0.05), BLUE, top=1.35, shine=0.5)
    for x, y, z, color in (
        (-0.4, -0.36, -0.3, RED), (-0.2, -0.42, -0.3, ORANGE), (-0.27, -0.24, -0.29, GREEN),
        (-0.29, -0.36, -0.16, YELLOW),
    ):  # fmt: skip
        yield Solid("ball", (x, y, z), (0.125, 0.125, 0.115), color, shine=0.4)
    yield Solid("tube", (-0.4, -0.36, -0.17), (0.012, 0.012, 0.04), BARK, (0, -15, 0))
    for z, size, color, turn in ((-0.42, 0.27, PURPLE, 20), (-0.33, 0.24, TEAL, 32), (-0.25, 0.21, RED, 12)):
        yield Solid("box", (0.36, 0.3, z), (size, size * 0.7, 0.04), color, (0, 0, turn))
        yield Solid("box", (0.36, 0.3, z), (size * 0.97, size * 0.72, 0.028), CREAM, (0, 0, turn))
    yield Solid("tube", (0.36, 0.3, -0.19), (0.13, 0.13, 0.02), GOLD, shine=0.6)
    yield Solid("tube", (0.36, 0.3, -0.02), (0.06, 0.06, 0.16), WHITE)
    yield Solid("ball", (0.36, 0.3, 0.22), (0.035, 0.035, 0.075), (1.0, 0.7, 0.15))
    yield Solid("ball", (0.36, -0.38, -0.32), (0.15, 0.15, 0.15), (0.78, 0.8, 0.25), shine=0.4)
    yield Solid("ball", (0.36, -0.38, -0.15), (0.09, 0.09, 0.13), (0.78, 0.8, 0.25), shine=0.4)
    yield Solid("tube", (0.36, -0.38, 0.0), (0.012, 0.012, 0.05), BARK, (12, 10, 0))
    yield Solid("ball", (0.62, -0.14, -0.37), (0.1, 0.1, 0.1), ORANGE, shine=0.4)


def lighthouse() -> Iterator[Solid]:
    """A striped lighthouse and a cottage on an island, with a boat."""
    yield Solid("tube", (0, 0, -0.93), (0.75, 0.75, 0.14), (0.16, 0.5, 0.72), top=1.27, shine=0.5)
    yield Solid("ball", (0.05, 0.1, -0.84), (0.68, 0.58, 0.2), (0.88, 0.78, 0.55))
    yield Solid("ball", (0.08, 0.12, -0.76), (0.55, 0.46, 0.19), (0.42, 0.64, 0.3))
    for x, y, size in ((0.62, 0.3, 0.13), (0.52, 0.5, 0.1), (-0.55, 0.3, 0.12), (-0.42, 0.48, 0.09), (0.6, -0.2, 0.1)):
        yield Solid("ball", (x, y, -0.76), (size, size * 0.8, size * 0.9), GRAY, (0, 0, 200 * x))
    radius, z = 0.22, -0.6
    for stripe in range(6):
        color = (WHITE, RED)[stripe % 2]
        yield Solid("tube", (0.22, 0.2, z + 0.09), (radius, radius, 0.1), color, top=(radius - 0.018) / radius)
        radius, z = radius - 0.018, z + 0.2
    yield Solid("tube", (0.22, 0.2, z), (0.18, 0.18, 0.025), DARK)
    yield Solid("tube", (0.22, 0.2, z + 0.11), (0.09, 0.09, 0.1), (1.0, 0.85, 0.35), shine=0.6)
    for turn in range(6):
        x, y = 0.1 * math.cos(turn * math.pi / 3), 0.1 * math.sin(turn * math.pi / 3)
        yield Solid("tube", (0.22 + x, 0.2 + y, z + 0.11), (0.012, 0.012, 0.1), DARK)
    yield Solid("tube", (0.22, 0.2, z + 0.27), (0.14, 0.14, 0.08), RED, top=0)
    yield Solid("ball", (0.22, 0.2, z + 0.36), (0.025, 0.025, 0.025), GOLD, shine=0.6)
    yield Solid("box", (0.22, -0.01, -0.5), (0.05, 0.03, 0.09), BARK)
    yield Solid("box", (-0.24, 0.02, -0.48), (0.19, 0.13, 0.12), CREAM)
    yield Solid("gable", (-0.24, 0.02, -0.27), (0.22, 0.17, 0.1), BLUE)
    yield Solid("box", (-0.16, 0.06, -0.2), (0.03, 0.03, 0.1), (0.6, 0.3, 0.25))
    yield Solid("box", (-0.24, -0.11, -0.51), (0.04, 0.012, 0.09), RED)
    for x in (-0.36, -0.12):
        yield Solid("box", (x, -0.11, -0.46), (0.035, 0.012, 0.035), (0.35, 0.6, 0.8), shine=0.5)
    yield Solid("ball", (-0.2, -0.66, -0.76), (0.19, 0.08, 0.08), ORANGE, (0, 0, 15))
    yield Solid("tube", (-0.2, -0.66, -0.58), (0.012, 0.012, 0.14), BARK)
    yield Solid("gable", (-0.13, -0.64, -0.56), (0.008, 0.09, 0.12), WHITE, (0, 0, 105))


def beetles() -> Iterator[Solid]:
    """Three beetles with shells that change colour with the view, and pearls, on a leaf."""
    yield Solid("ball", (0, 0, -0.42), (0.95, 0.7, 0.06), GREEN)
    yield Solid("box", (0, 0, -0.36), (0.9, 0.02, 0.02), (0.2, 0.5, 0.24))
    for x, y, turn, shell, rim in (
        (-0.42, -0.12, 25, TEAL, PURPLE), (0.38, -0.3, 160, RED, GOLD), (0.2, 0.34, -60, BLUE, PINK),
    ):  # fmt: skip
        along = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        yield Solid("ball", (x, y, -0.2), (0.3, 0.2, 0.19), shell, (0, 0, turn), shine=0.5, rim=rim)
        head = (x + 0.3 * along[0], y + 0.3 * along[1], -0.24)
        yield Solid("ball", head, (0.1, 0.12, 0.09), DARK, (0, 0, turn), shine=0.4, rim=shell)
        for side in (-1, 1):
            eye = (
                head[0] + 0.06 * along[0] - side * 0.06 * along[1],
                head[1] + 0.06 * along[1] + side * 0.06 * along[0],
            )
            yield Solid("ball", (*eye, -0.19), (0.03, 0.03, 0.03), CREAM, shine=0.6)
    for x, y in ((-0.1, -0.45), (0.68, 0.02), (-0.3, 0.42), (-0.74, 0.14)):
        yield Solid("ball", (x, y, -0.27), (0.1, 0.1, 0.1), WHITE, shine=0.6, rim=ORANGE if x > 0 else PURPLE)


SCENES: dict[str, tuple[Callable[[], Iterator[Solid]], float, float]] = {
    "beetles": (beetles, 1.0, 0.2),
    "blocks": (blocks, 0.9, 0.1),
    "lighthouse": (lighthouse, 0.92, 0.05),
    "robot": (robot, 1.0, 0.0),
    "snowman": (snowman, 0.95, 0.0),
    "still-life": (still_life, 1.1, 0.2),
    "temple": (temple, 0.87, 0.0),
}
"""By name: the solids, and the scale and upward shift that centre them in the picture."""


def solids(name: str) -> Solids:
    """The solids of a scene by name.

    Raises:
        ValueError: there is no such scene; the message lists those that there are.
    """
    if name not in SCENES:
        raise ValueError(f"there is no scene {name!r} to make; known are {', '.join(SCENES)}")
    build, scale, lift = SCENES[name]
    return Solids(tuple(_placed(part, scale, lift) for part in build()))


def _placed(part: Solid, scale: float, lift: float) -> Solid:
    x, y, z = part.center
    a, b, c = part.size
    center = (scale * x, scale * y, scale * (z + lift))
    return dataclasses.replace(part, center=center, size=(scale * a, scale * b, scale * c))
