"""Scenes of the nano world: what a picture shows, as plain values, and how they are sampled."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .colors import COLORS
from .grounds import GROUNDS, PATTERNS
from .places import PLACES
from .sprites import SUBSET, aspect, find_object
from .styles import COLORLESS, STYLES

FLOATING: frozenset[str] = frozenset({"night sky", "sea"})
"""Places without a floor: objects there cast no shadow."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that determines a picture; its fields are also the picture's ground truth.

    Raises:
        ValueError: a name is unknown or a value out of range; the message says which are allowed.
    """

    object: str
    """Name of an object (see `sprites.objects`)."""
    place: str
    """A name of `PLACES` ("beach") or of `GROUNDS` ("plain", "stripes")."""
    color: str | None = None
    """Colour of a ground; None in a place."""
    tint: str | None = None
    """Colour the object is recoloured with, or None."""
    count: int = 1
    """1, or 2 side by side."""
    style: str | None = None
    """A name of `STYLES`, or None."""
    scale: float = 0.7
    """Longest side of the object, in frames."""
    x: float = 0.5
    """Centre of the object (of the pair), in frames from the left."""
    y: float = 0.5
    """Centre of the object, in frames from the top."""
    tilt: float = 0.0
    """Clockwise turn in degrees."""
    flip: bool = False
    """Mirrored left to right."""
    seed: int = 0
    """Variation of the place or ground and of the style."""

    def __post_init__(self) -> None:
        find_object(self.object)
        _check("place", self.place, (*PLACES, *GROUNDS))
        if self.is_ground:
            _check("color", self.color, COLORS)
        elif self.color is not None:
            raise ValueError(f'color belongs to grounds; leave it out with the place "{self.place}"')
        if self.tint is not None:
            _check("tint", self.tint, COLORS)
        if self.style is not None:
            _check("style", self.style, STYLES)
        if self.count not in (1, 2):
            raise ValueError(f"count must be 1 or 2, got {self.count}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not 0.05 <= self.scale <= 2:
            raise ValueError(f"scale must be in 0.05..2 frames, got {self.scale}")

    @property
    def category(self) -> str:
        """The object's category, such as "animal"."""
        return find_object(self.object).category

    @property
    def is_ground(self) -> bool:
        """Whether the object stands on a plain or patterned ground instead of in a place."""
        return self.place in GROUNDS


def _check(field: str, value: object, allowed: Iterable[str]) -> None:
    """Raise a ValueError that offers what is allowed unless ``value`` is."""
    allowed = list(allowed)
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(allowed)}"
        raise ValueError(f"{field} must be a name of the nano world, got {value!r}: {hint}")


_FIELDS = frozenset(field.name for field in dataclasses.fields(Scene))


def sample_scene(
    rng: np.random.Generator, names: Sequence[str] = SUBSET, *, variation: float = 1.0, **fixed: Any
) -> Scene:
    """Draw a scene: half places and half grounds, 30 % tinted, 10 % pairs, 20 % in a style.

    Fixing one field leaves the random draws of the others unchanged, apart from what it excludes: a place has no
    colour, a colourless style has no tint, and a fixed colour excludes places.

    Args:
        rng: source of every draw.
        names: the objects to choose from.
        variation: how far scale and centre vary around their middles, 0..1 of the whole range.
        fixed: values of `Scene` fields that are not drawn.

    Raises:
        ValueError: ``names`` is empty, or a fixed field or value is unknown.
    """
    if not names:
        raise ValueError("names is empty: give at least one object of the nano world")
    for field in fixed:
        _check("a fixed field", field, sorted(_FIELDS))
    chance = rng.random(5)
    colors = list(COLORS)
    color, tint = (colors[i] for i in rng.integers(len(colors), size=2))
    drawn: dict[str, Any] = {
        "object": names[int(rng.integers(len(names)))],
        "place": list(PLACES)[rng.integers(len(PLACES))],
        "count": 2 if chance[0] < 0.1 else 1,
        "style": list(STYLES)[rng.integers(len(STYLES))],
        "tilt": float(rng.uniform(-15, 15)),
        "flip": bool(rng.random() < 0.5),
        "seed": int(rng.integers(2**31)),
    }
    pattern = list(PATTERNS)[rng.integers(len(PATTERNS))]
    spread = (1 - variation) * 0.5 + variation * rng.random(3)
    if chance[1] < 0.5 or fixed.get("color") is not None:
        drawn["place"] = "plain" if chance[2] < 0.38 else pattern
    if chance[3] >= 0.2:
        drawn["style"] = None
    drawn.update(fixed)
    if drawn["place"] in GROUNDS:
        drawn.setdefault("color", color)
    if chance[4] < 0.3 and drawn["style"] not in COLORLESS:
        drawn.setdefault("tint", tint)
    return Scene(**{**_pose(drawn, spread), **drawn})


def _pose(drawn: dict[str, Any], spread: np.ndarray) -> dict[str, float]:
    """Scale and centre: big, wholly in the frame, and in places with a floor lowered towards it."""
    width, height = aspect(drawn["object"])
    turn = math.radians(abs(drawn["tilt"]))
    # A turned ellipse of the object's extents: corners of the box are empty in nearly all of them.
    across = math.hypot(width * math.cos(turn), height * math.sin(turn))
    down = math.hypot(width * math.sin(turn), height * math.cos(turn))
    if drawn["count"] == 2:
        scale = min(0.47 / across, 0.76 / down) * (0.88 + 0.12 * spread[0])
        room_x = 0.015
    else:
        scale = min(0.60 + 0.25 * spread[0], 0.92 / across, 0.92 / down)
        room_x = min(max(0.48 - scale * across / 2, 0), 0.06)
    half = scale * down / 2
    room_y = min(max(0.48 - half, 0), 0.05)
    y = 0.5 + room_y * (2 * spread[2] - 1)
    if drawn["place"] in PLACES and drawn["place"] != "night sky":
        # Part of the way from the middle to a floor at 0.9; all the way would move small objects too far down.
        y += max(0.9 - room_y - (0.5 + half), 0) * 0.6
    return {"scale": scale, "x": 0.5 + room_x * (2 * spread[1] - 1), "y": y}


def scenes_of(names: Sequence[str], *, seed: int = 0, **fixed: Any) -> list[Scene]:
    """One scene for each of ``names``, in order; arguments as for `sample_scene`."""
    return [sample_scene(np.random.default_rng([seed, i]), [name], **fixed) for i, name in enumerate(names)]
