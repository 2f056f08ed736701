"""Sheets of pictures: several pictures on one, with their labels."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

CELL, LABEL = 128, 18
"""Pixels of a picture's side, and of the height of a label."""


def labelled_grid(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """A sheet with a row for each (label, pictures); the label is above its pictures."""
    columns = max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (columns * CELL, len(rows) * (CELL + LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, pictures) in enumerate(rows):
        top = i * (CELL + LABEL)
        draw.text((4, top + 3), label, fill="black")
        for j, picture in enumerate(pictures):
            sheet.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), (j * CELL, top + LABEL))
    return sheet
