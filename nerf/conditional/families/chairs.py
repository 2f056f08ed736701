"""Chairs: a seat on three or four legs, a back of slats with a tilt, with or without arms. The front is -y, up is z."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .captions import Trait
from .family import Family
from .solids import SolidBatch, standing, turned

FLOOR = -0.62
"""Height of the ground, in world units."""
SLATS = 5
"""Largest number of slats of a back; a back of one slat is a solid panel."""
BOARD = 0.05
"""Thickness of backs and arms, in world units."""
INSET = 0.06
"""Distance from the seat's edge to the middle of a leg's upper end, in world units."""


def build(values: Mapping[str, Tensor]) -> list[SolidBatch]:
    """The solids of chairs."""
    width, depth, thickness = values["seat_width"], values["seat_depth"], values["seat_thickness"]
    top = FLOOR + values["seat_height"]
    zero = torch.zeros_like(width)
    seat = SolidBatch(
        "seat",
        "box",
        torch.stack([zero, zero, top - thickness / 2], -1),
        torch.stack([width, depth, thickness], -1) / 2,
    )
    return [seat, *_back(values, top), *_legs(values, top), *_arms(values, top)]


def slat_count(values: Mapping[str, Tensor]) -> Tensor:
    """Number of slats of each back."""
    return values["back_slats"].round().clamp(1, SLATS)


def _back(values: Mapping[str, Tensor], top: Tensor) -> list[SolidBatch]:
    """Slats as wide as the gaps between them, and a rail on top, all tilted backwards about the seat's rear edge."""
    width, tall = values["seat_width"], values["back_height"]
    count = slat_count(values)
    axes = turned(0, -torch.deg2rad(values["back_tilt"]))
    pivot = torch.stack([torch.zeros_like(width), values["seat_depth"] / 2 - BOARD / 2, top], -1)
    board = torch.full_like(width, BOARD / 2)

    def leaning(
        x: Tensor, height: Tensor, half_width: Tensor, half_height: Tensor, present: Tensor | None
    ) -> SolidBatch:
        offset = torch.stack([x, torch.zeros_like(x), height], -1)
        center = pivot + (axes @ offset[:, :, None])[:, :, 0]
        return SolidBatch("back", "box", center, torch.stack([half_width, board, half_height], -1), axes, present)

    slat = width / (2 * count - 1)
    slats = [leaning(-width / 2 + slat * (2 * i + 0.5), tall / 2, slat / 2, tall / 2, count > i) for i in range(SLATS)]
    rail = torch.full_like(width, 0.05)
    return [*slats, leaning(torch.zeros_like(width), tall - rail, width / 2, rail, None)]


def _legs(values: Mapping[str, Tensor], top: Tensor) -> list[SolidBatch]:
    """Round legs that spread downwards; of three legs one is in the middle of the rear."""
    three = values["leg_count"].round() < 4
    under = top - values["seat_thickness"]
    spread = torch.deg2rad(values["leg_splay"]).tan() * (under - FLOOR)
    x, y = values["seat_width"] / 2 - INSET, values["seat_depth"] / 2 - INSET
    zero = torch.zeros_like(x)
    places = [(-x, -y, None), (x, -y, None), (torch.where(three, zero, -x), y, None), (x, y, ~three)]
    legs = []
    for across, along, present in places:
        head = torch.stack([across, along, under], -1)
        outwards = torch.stack([across.sign(), along.sign(), zero], -1)
        foot = head + outwards * spread[:, None] * math.sqrt(0.5)
        foot = torch.cat([foot[:, :2], torch.full_like(foot[:, 2:], FLOOR)], -1)
        thick = values["leg_thickness"] / 2
        half = torch.stack([thick, thick, (head - foot).norm(dim=-1) / 2], -1)
        legs.append(SolidBatch("legs", "tube", (head + foot) / 2, half, standing(foot, head), present))
    return legs


def _arms(values: Mapping[str, Tensor], top: Tensor) -> list[SolidBatch]:
    """An arm and its post on each side; they have the back's colour."""
    present = values["arms"] > 0.5
    depth = values["seat_depth"]
    board = torch.full_like(depth, BOARD / 2)
    rise = torch.full_like(depth, 0.24)
    solids = []
    for side in (-1, 1):
        x = side * (values["seat_width"] / 2 - BOARD / 2)
        arm = torch.stack([x, torch.zeros_like(x), top + rise], -1)
        solids.append(SolidBatch("back", "box", arm, torch.stack([board * 1.4, depth / 2, board], -1), None, present))
        post = torch.stack([x, -depth / 2 + INSET, top + rise / 2], -1)
        solids.append(SolidBatch("back", "box", post, torch.stack([board, board, rise / 2], -1), None, present))
    return solids


CHAIRS = Family(
    name="chairs",
    parts=("seat", "back", "legs"),
    ranges={
        "seat_width": (0.55, 1.05),
        "seat_depth": (0.5, 0.95),
        "seat_height": (0.38, 0.75),
        "seat_thickness": (0.06, 0.16),
        "back_height": (0.25, 0.72),
        "back_tilt": (0.0, 20.0),
        "back_slats": (0.5, 5.5),
        "leg_count": (2.5, 4.5),
        "leg_thickness": (0.06, 0.13),
        "leg_splay": (0.0, 14.0),
        "arms": (0.0, 1.0),
    },
    build=build,
    traits=(
        Trait("width", "narrow", "wide", lambda v: v["seat_width"]),
        Trait("height", "short", "tall", lambda v: v["seat_height"] + v["back_height"]),
        Trait("depth", "shallow", "deep", lambda v: v["seat_depth"]),
        Trait("seat height", "a low seat", "a high seat", lambda v: v["seat_height"], True),
        Trait("seat thickness", "a thin seat", "a thick seat", lambda v: v["seat_thickness"], True),
        Trait("back height", "a short back", "a tall back", lambda v: v["back_height"], True),
        Trait("back tilt", "an upright back", "a leaning back", lambda v: v["back_tilt"], True),
        Trait("slats", "few slats", "many slats", slat_count, True),
        Trait("leg count", "three legs", "four legs", lambda v: v["leg_count"].round(), True),
        Trait("leg thickness", "thin legs", "thick legs", lambda v: v["leg_thickness"], True),
        Trait("leg splay", "straight legs", "splayed legs", lambda v: v["leg_splay"], True),
        Trait("arms", "no arms", "arms", lambda v: (v["arms"] > 0.5).float(), True),
    ),
    box=((-0.66, -0.62, -0.65), (0.66, 0.74, 0.87)),
)
