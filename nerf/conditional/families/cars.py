"""Cars: a body with a round nose, a cabin on top, four wheels, with or without a spoiler. The front is -x, up is z."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .captions import Trait
from .family import Family
from .solids import SolidBatch, turned

FLOOR = -0.4
"""Height of the ground, in world units."""
MARGIN = 0.04
"""Smallest distance from an end of the body to the cabin or to a wheel, in world units."""


def build(values: Mapping[str, Tensor]) -> list[SolidBatch]:
    """The solids of cars."""
    length, width, tall = values["length"], values["width"], values["body_height"]
    low = FLOOR + values["clearance"]
    zero = torch.zeros_like(length)
    body = SolidBatch(
        "body", "box", torch.stack([zero, zero, low + tall / 2], -1), torch.stack([length, width, tall], -1) / 2
    )
    nose_half = torch.stack([values["nose"], width * 0.49, tall * 0.48], -1)
    nose = SolidBatch("body", "ball", torch.stack([-length / 2, zero, low + tall / 2], -1), nose_half)
    return [body, nose, _cabin(values, low + tall), *_wheels(values), *_spoiler(values, low + tall)]


def _cabin(values: Mapping[str, Tensor], top: Tensor) -> SolidBatch:
    """A box on the body, from its front end (position 0) to its rear end (1)."""
    length, tall = values["cabin_length"], values["cabin_height"]
    room = values["length"] - length - 2 * MARGIN
    x = room * (values["cabin_position"] - 0.5)
    center = torch.stack([x, torch.zeros_like(x), top + tall / 2], -1)
    return SolidBatch("cabin", "box", center, torch.stack([length, values["width"] * 0.86, tall], -1) / 2)


def _wheels(values: Mapping[str, Tensor]) -> list[SolidBatch]:
    """Four cylinders on the ground, half inside the body's sides."""
    radius, width = values["wheel_radius"], values["wheel_width"]
    axes = turned(0, torch.full_like(radius, math.pi / 2))
    x, y = values["length"] / 2 - radius - MARGIN, values["width"] / 2
    return [
        SolidBatch(
            "wheels", "tube", torch.stack([end * x, side * y, FLOOR + radius], -1),
            torch.stack([radius, radius, width / 2], -1), axes,
        )
        for end in (-1, 1) for side in (-1, 1)
    ]  # fmt: skip


def _spoiler(values: Mapping[str, Tensor], top: Tensor) -> list[SolidBatch]:
    """A wing on two posts over the rear end; it has the body's colour."""
    present = values["spoiler"] > 0.5
    x = values["length"] / 2 - 0.07
    zero, rise = torch.zeros_like(x), torch.full_like(x, 0.13)
    small = torch.full_like(x, 0.025)
    wing = torch.stack([x, zero, top + rise], -1)
    solids = [
        SolidBatch("body", "box", wing, torch.stack([small * 2.6, values["width"] / 2, small], -1), None, present)
    ]
    for side in (-1, 1):
        post = torch.stack([x, side * (values["width"] / 2 - 0.1), top + rise / 2], -1)
        solids.append(SolidBatch("body", "box", post, torch.stack([small, small, rise / 2], -1), None, present))
    return solids


CARS = Family(
    name="cars",
    parts=("body", "cabin", "wheels"),
    ranges={
        "length": (1.1, 1.6),
        "width": (0.5, 0.8),
        "body_height": (0.16, 0.32),
        "clearance": (0.08, 0.2),
        "nose": (0.02, 0.16),
        "cabin_length": (0.45, 0.95),
        "cabin_height": (0.12, 0.34),
        "cabin_position": (0.2, 1.0),
        "wheel_radius": (0.11, 0.2),
        "wheel_width": (0.08, 0.16),
        "spoiler": (0.0, 1.0),
    },
    build=build,
    traits=(
        Trait("length", "short", "long", lambda v: v["length"]),
        Trait("width", "narrow", "wide", lambda v: v["width"]),
        Trait("height", "low", "tall", lambda v: v["clearance"] + v["body_height"] + v["cabin_height"]),
        Trait("body height", "a flat body", "a thick body", lambda v: v["body_height"], True),
        Trait("nose", "a flat nose", "a round nose", lambda v: v["nose"], True),
        Trait("cabin length", "a short cabin", "a long cabin", lambda v: v["cabin_length"], True),
        Trait("cabin height", "a low cabin", "a tall cabin", lambda v: v["cabin_height"], True),
        Trait("cabin position", "a cabin in front", "a cabin at the rear", lambda v: v["cabin_position"], True),
        Trait("wheel radius", "small wheels", "big wheels", lambda v: v["wheel_radius"], True),
        Trait("wheel width", "thin wheels", "thick wheels", lambda v: v["wheel_width"], True),
        Trait("spoiler", "no spoiler", "a spoiler", lambda v: (v["spoiler"] > 0.5).float(), True),
    ),
    box=((-0.98, -0.5, -0.42), (0.82, 0.5, 0.5)),
)
