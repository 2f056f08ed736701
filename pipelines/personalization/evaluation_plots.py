"""Pictures of an evaluation's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers.utils import make_image_grid
from matplotlib.figure import Figure
from PIL import Image


def draw_curve(curve: Mapping[int, Mapping[str, Any]], category: Mapping[str, Any], path: Path) -> None:
    """CLIP-I against CLIP-T along the truncation, with intervals, and the category word beside it."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, rows in (("units kept", list(curve.values())), ("category word", [category])):
        points = [[row[name]["value"] for row in rows] for name in ("clip_t", "clip_i")]
        spread = [[row[name]["high"] - row[name]["value"] for row in rows] for name in ("clip_t", "clip_i")]
        axes.errorbar(*points, xerr=spread[0], yerr=spread[1], fmt="o-", capsize=2, label=label)
    for units, row in curve.items():
        at = row["clip_t"]["value"], row["clip_i"]["value"]
        axes.annotate(str(units), at, textcoords="offset points", xytext=(4, 4))
    axes.set(xlabel="CLIP-T (obeys the prompt)", ylabel="CLIP-I (looks like the thing)")
    axes.legend()
    figure.savefig(path, dpi=110)


def draw_neighbours(
    pictures: Sequence[Image.Image], seen: Sequence[Image.Image], nearest: Sequence[int], path: Path, *, most: int = 8
) -> None:
    """Generated pictures, evenly chosen, above the training picture nearest to each."""
    chosen = range(0, len(pictures), max(1, len(pictures) // most))[:most]
    rows = [[pictures[i] for i in chosen], [seen[nearest[i]] for i in chosen]]
    make_image_grid([picture for row in rows for picture in row], rows=2, cols=len(chosen)).save(path)
