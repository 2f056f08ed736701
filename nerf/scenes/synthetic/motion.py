"""Scenes of solids that move, exact at every time in 0..1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from .gallery import BLUE, DARK, GOLD, GRAY, GREEN, ORANGE, PINK, PURPLE, RED, TEAL, WHITE, WOOD, YELLOW
from .primitives import Solid, Solids


def clockwork(time: float) -> Iterator[Solid]:
    """A toy: a pendulum that swings, a ball that bounces, a lift that rises, and an arm with a shiny end that turns."""
    yield Solid("tube", (0, 0, -0.72), (0.8, 0.8, 0.05), WOOD)
    yield Solid("box", (0, 0.35, -0.1), (0.07, 0.07, 0.57), GRAY, shine=0.4)
    yield Solid("box", (0, 0.2, 0.5), (0.06, 0.22, 0.05), TEAL)
    swing = math.radians(38 * math.cos(2 * math.pi * time))
    for along, size, color in ((0.3, (0.025, 0.025, 0.3), DARK), (0.66, (0.12, 0.12, 0.12), RED)):
        center = (along * math.sin(swing), 0.05, 0.5 - along * math.cos(swing))
        kind = "tube" if color == DARK else "ball"
        yield Solid(kind, center, size, color, (0, -math.degrees(swing), 0), shine=0.5)
    height = 0.55 * abs(math.sin(2 * math.pi * time))
    yield Solid("ball", (-0.5, -0.25, -0.53 + height), (0.14, 0.14, 0.14), YELLOW, shine=0.4)
    yield Solid("tube", (-0.5, -0.25, -0.66), (0.17, 0.17, 0.02), PURPLE)
    yield Solid("box", (0.5, 0.3, -0.45 + 0.6 * time), (0.16, 0.16, 0.07), BLUE, (0, 0, 20))
    yield Solid("box", (0.5, 0.3, -0.31 + 0.6 * time), (0.07, 0.07, 0.07), PINK, (0, 0, 20 + 90 * time))
    for x in (0.31, 0.69):
        yield Solid("tube", (x, 0.3, -0.15), (0.025, 0.025, 0.52), WHITE)
    turn = 2 * math.pi * time
    yield Solid("tube", (0.15, -0.45, -0.55), (0.05, 0.05, 0.14), GREEN)
    yield Solid(
        "box", (0.15 + 0.12 * math.cos(turn), -0.45 + 0.12 * math.sin(turn), -0.39), (0.2, 0.04, 0.03), ORANGE,
        (0, 0, math.degrees(turn)),
    )  # fmt: skip
    end = (0.15 + 0.32 * math.cos(turn), -0.45 + 0.32 * math.sin(turn), -0.37)
    yield Solid("ball", end, (0.08, 0.08, 0.08), GOLD, shine=0.7)


MOVING: dict[str, Callable[[float], Iterator[Solid]]] = {"clockwork": clockwork}
"""Scenes that move, by name: a function from a time to the solids."""


def moving_solids(name: str, time: float) -> Solids:
    """The solids of a moving scene at a time in 0..1.

    Raises:
        ValueError: there is no such scene, or the time is out of range.
    """
    if name not in MOVING:
        raise ValueError(f"there is no moving scene {name!r} to make; known are {', '.join(MOVING)}")
    if not 0 <= time <= 1:
        raise ValueError(f"time must be in 0..1, got {time}")
    return Solids(tuple(MOVING[name](time)))
