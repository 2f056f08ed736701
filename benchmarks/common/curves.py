"""Rate-distortion curves: points of (rate, PSNR in dB), read at a rate, and drawn; and pictures in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from mappers.files import replacing

Point = tuple[float, float]
"""A rate (bytes, or bits per pixel or second) and PSNR in dB."""
OURS = "mapfield"
"""Name of the curve that is drawn thick."""
CAPTION = 14
"""Pixels of the height of a caption."""


def psnr_at(points: Sequence[Point], rate: float) -> float | None:
    """PSNR of a curve at a rate, by straight lines between its points; None outside of it.

    A setting that costs more and gives less than another one counts as that other one.
    """
    rates, quality = (np.array(values) for values in zip(*sorted(points), strict=True))
    if not rates.min() <= rate <= rates.max():
        return None
    return float(np.interp(rate, rates, np.maximum.accumulate(quality)))


def plot_curves(
    curves: Mapping[str, Sequence[Point]], path: Path, *, unit: str = "bits per pixel", most: float = 1.25
) -> None:
    """Draw PSNR over the rate, up to the rate ``most``; curves without a point there are left out."""
    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        inside = [value for value in values if value[0] < 1.05 * most]
        if inside:
            ours = name == OURS
            axes.plot(*zip(*inside, strict=True), marker="o" if ours else None, linewidth=2.5 if ours else 1,
                      label=name)  # fmt: skip
    axes.set(xlabel=f"{unit} of the file", ylabel="PSNR in dB", xlim=(0, most))
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary)


def side_by_side(pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> Image.Image:
    """Pictures of one size in a row, each below its name."""
    height, width = next(iter(pictures.values())).shape[:2]
    page = Image.new("RGB", (len(pictures) * width, height + CAPTION), "white")
    for place, (name, pixels) in enumerate(pictures.items()):
        page.paste(Image.fromarray(pixels), (place * width, CAPTION))
        ImageDraw.Draw(page).text((place * width + 4, 1), name, fill="black")
    return page
