"""Pictures as a zoomable treemap of their clusters, after DendroMap (arXiv 2205.06935)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

CLUSTERS = 8
"""Shown at once; DendroMap's default is of this order, and more are too small to read on a phone."""
CAPTION, GAP = 20, 3
"""Pixels of a cluster's caption and between clusters."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    width: float
    height: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is in it."""
        return self.left <= x < self.left + self.width and self.top <= y < self.top + self.height


@dataclass(frozen=True)
class Tree:
    """A dendrogram: pictures are 0 .. count - 1, and merge i makes node count + i, as scipy's linkage numbers them.

    Args:
        captions: what each picture was asked to show.
        merges: the two nodes that each merge joins, and the height at which it does, lowest first.
    """

    captions: Sequence[str]
    merges: Sequence[tuple[int, int, float]]

    @property
    def root(self) -> int:
        """The node of all pictures."""
        return len(self.captions) + len(self.merges) - 1

    def children(self, node: int) -> tuple[int, ...]:
        """The nodes that a node joins; none for a picture."""
        merge = node - len(self.captions)
        return () if merge < 0 else self.merges[merge][:2]

    def pictures(self, node: int) -> list[int]:
        """All pictures of a node; similar ones are near one another."""
        stack, found = [node], []
        while stack:
            node = stack.pop()
            inner = self.children(node)
            stack.extend(reversed(inner))
            if not inner:
                found.append(node)
        return found

    def clusters(self, node: int, most: int = CLUSTERS) -> list[int]:
        """The node's dendrogram cut at the height at which it has at most so many parts, the largest first."""
        parts = [node]
        while len(parts) < most and (widest := max(parts)) >= len(self.captions):  # later merges are higher
            parts.remove(widest)
            parts.extend(self.children(widest))
        return sorted(parts, key=lambda part: (-len(self.pictures(part)), part))

    def name(self, node: int) -> str:
        """How many pictures a node has, and what most of them were asked to show."""
        pictures = self.pictures(node)
        (caption, count), *_ = Counter(self.captions[i] for i in pictures).most_common(1)
        if len(pictures) == 1:
            return caption
        if count == len(pictures):
            return f"{count} pictures: {caption}"
        return f"{len(pictures)} pictures of {len({self.captions[i] for i in pictures})} prompts, {count}: {caption}"


def squarify(weights: Sequence[float], box: Box) -> list[Box]:
    """Divide a rectangle in proportion to weights, largest first, into parts as square as can be.

    The squarified treemap of Bruls, Huizing and van Wijk (2000): a row along the shorter side grows as long as its
    worst aspect ratio falls.
    """
    areas = [weight * box.width * box.height / sum(weights) for weight in weights]
    placed: list[Box] = []
    while areas:
        side = min(box.width, box.height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        depth = sum(areas[:count]) / side
        offset = 0.0
        for area in areas[:count]:
            if box.width >= box.height:
                placed.append(Box(box.left, box.top + offset, depth, area / depth))
            else:
                placed.append(Box(box.left + offset, box.top, area / depth, depth))
            offset += area / depth
        if box.width >= box.height:
            box = Box(box.left + depth, box.top, box.width - depth, box.height)
        else:
            box = Box(box.left, box.top + depth, box.width, box.height - depth)
        areas = areas[count:]
    return placed


def _worst(areas: Sequence[float], side: float) -> float:
    """The largest aspect ratio in a row of these areas along a side."""
    total = sum(areas)
    return max(max(side**2 * area / total**2, total**2 / (side**2 * area)) for area in areas)


def layout(tree: Tree, node: int, width: int, height: int) -> list[tuple[int, Box]]:
    """The clusters of a node and where they are on the sheet; areas are numbers of pictures."""
    parts = tree.clusters(node)
    weights = [len(tree.pictures(part)) for part in parts]
    return list(zip(parts, squarify(weights, Box(0, 0, width, height)), strict=True))


def draw(tree: Tree, node: int, pictures: Sequence[Image.Image], width: int, height: int) -> Image.Image:
    """The treemap of a node: each cluster with its name and as many of its pictures as are still to be seen."""
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for part, box in layout(tree, node, width, height):
        left, top = round(box.left) + GAP, round(box.top) + GAP
        inner, room = round(box.width) - 2 * GAP, round(box.height) - 2 * GAP - CAPTION
        if inner <= 0 or room <= 0:
            continue
        pen.rectangle((left, top, left + inner - 1, top + CAPTION + room - 1), fill="#e0e7ff")
        pen.text((left + 4, top + 2), _cut(tree.name(part), pen, font, inner - 8), fill="#1e1b4b", font=font)
        chosen = tree.pictures(part)
        side = _side(len(chosen), inner, room)
        columns, rows = max(1, inner // side), max(1, room // side)
        shown = chosen[:: math.ceil(len(chosen) / (columns * rows))]
        for i, picture in enumerate(shown):
            place = left + i % columns * side, top + CAPTION + i // columns * side
            sheet.paste(pictures[picture].resize((side - 1, side - 1), Image.Resampling.LANCZOS), place)
    return sheet


def _side(count: int, width: int, height: int, least: int = 32) -> int:
    """The largest side of so many squares in a rectangle; not under ``least``, where they need not all fit."""
    smallest = max(2, min(least, width, height))
    for side in range(min(width, height), smallest, -1):
        if (width // side) * (height // side) >= count:
            return side
    return smallest


def _cut(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
