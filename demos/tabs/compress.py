"""Tab: a picture as a small file, and JPEG and AVIF of the same size to compare with."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from ..pages import Desk, Form, cancelling, on
from ..records import Record, Task
from ..visitors import State, Studio, refusal
from . import compress_jobs as jobs
from .compress_layout import INPUT, PART, QUALITY, layout

NAMES = ("picture", "region", "across", "down", "target", "size", "quality")
"""Settings, in the order of their components."""


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def code(
        self, picture: str | None, region: str, across: float, down: float, target: str, size: float, quality: float,
        visitor: str,
    ) -> Generator[State, None, tuple[Any, ...]]:  # fmt: skip
        """Compress a picture."""
        file = self.studio.check_picture(picture, "there is no picture yet; drop one or choose an example")
        by_quality = target == QUALITY
        settings = dict(zip(NAMES[1:], (region, across, down, target, size, quality), strict=True))
        wanted = f"at {quality:g} dB" if by_quality else f"in {size:g} bytes"
        record = yield from self.studio.work(
            visitor, jobs.code, Task("compress", f"{Path(file).name} {wanted}", settings, {"picture": file}), file=file,
            part=(across / 100, down / 100) if region == PART else None, target_bytes=None if by_quality else int(size),
            target_psnr=quality if by_quality else None,
        )  # fmt: skip
        return shown(record)

    def compare(self, other: str, pictures: dict[str, str] | None) -> tuple[str, str]:
        """Another picture left of the line."""
        if pictures is None:
            raise refusal("there is no compressed picture yet; press Compress")
        return pair(other, pictures)


def pair(other: str, pictures: dict[str, str]) -> tuple[str, str]:
    """The two pictures of the comparison.

    Raises:
        gr.Error: there is no file of that kind that is small enough.
    """
    left = pictures.get("input" if other == INPUT else other.lower())
    if left is None or not Path(left).is_file():
        raise refusal(f"there is no {other} file as small as mapfield's; compare with another one")
    return left, pictures["decoded"]


def shown(record: Record) -> tuple[Any, ...]:
    """Values of the comparison, what it is of, the table, the file and the curve."""
    made = record.made
    pictures = {name: made[name] for name in ("input", "decoded", "jpeg", "avif") if name in made}
    other = next(name for name in ("JPEG", "AVIF", INPUT) if name == INPUT or name.lower() in pictures)
    return other, pair(other, pictures), made["table"], made["file"], made["plot"], pictures


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    page, handlers, pictures = layout(studio), Handlers(studio), gr.State(None)
    given = [page.picture, page.region, page.across, page.down, page.target, page.size, page.quality]
    outputs = [page.other, page.slider, page.table, page.file, page.curve, pictures]
    on(page.at.pressed, handlers.code, [*given, visitor], outputs, at=page.at, api_name="compress")
    on(
        page.other.input, handlers.compare, [page.other, pictures], [page.slider], at=Desk(page.at.note),
        api_name="compare",
    )  # fmt: skip
    cancelling(studio, visitor, page.at, "compress")

    def show(record: Record) -> dict[Any, Any]:
        settings = {one: record.settings[name] for one, name in zip(given, NAMES, strict=True)}
        return settings | dict(zip(outputs, shown(record), strict=True))

    return Form([*given, *outputs], show)
