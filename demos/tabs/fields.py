"""Tab: a radiance field converted to another family."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr

from ..pages import Form, cancelling, on
from ..records import Record, Task
from ..visitors import State, Studio, refusal
from . import fields_jobs as jobs
from .fields_layout import layout


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def teach(
        self, scene: str, family: str, steps: int, seed: float, visitor: str
    ) -> Generator[State, None, tuple[Any, ...]]:
        """Convert a field, and say where both are."""
        teachers = self.studio.root / "teachers"
        settings = {"scene": scene, "family": family, "steps": int(steps), "seed": int(seed)}
        record = yield from self.studio.work(
            visitor, jobs.teach, Task("fields", f"{scene} converted to {family}", settings), steps=int(steps),
            watch=[teachers / scene], scene=scene, family=family, count=int(steps), seed=int(seed), teachers=teachers,
        )  # fmt: skip
        return shown(record, self.studio)

    def look(
        self, azimuth: float, elevation: float, runs: list[str] | None, visitor: str
    ) -> Generator[State, None, tuple[Any, Any]]:
        """Both fields from one direction."""
        if runs is None:
            raise refusal("there is no field to turn yet; press Convert")
        made = yield from self.studio.look(
            visitor, jobs.look, "fields", runs=runs, azimuth=azimuth, elevation=elevation
        )
        return made["pictures"]


def shown(record: Record, studio: Studio) -> tuple[Any, ...]:
    """Values of both pictures, the table, the curve, and where the fields are."""
    made = record.made
    own = record.folder / "teacher"  # an example's
    teacher = own if own.is_dir() else studio.root / "teachers" / record.settings["scene"]
    runs = [str(teacher), str(record.folder)]
    kept = all(map(jobs.is_kept, runs))
    return made["teacher"], made["student"], made["table"], made["plot"], runs if kept else None


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    page, handlers, runs = layout(), Handlers(studio), gr.State(None)
    given = [page.scene, page.family, page.steps, page.seed]
    outputs = [page.teacher, page.student, page.table, page.curve, runs]
    on(page.at.pressed, handlers.teach, [*given, visitor], outputs, at=page.at, api_name="distill")
    on(
        [page.azimuth.input, page.elevation.input], handlers.look, [page.azimuth, page.elevation, runs, visitor],
        [page.teacher, page.student], at=page.at, api_name="look", trigger_mode="always_last",
    )  # fmt: skip
    cancelling(studio, visitor, page.at, "fields")

    def show(record: Record) -> dict[Any, Any]:
        settings = {
            one: record.settings[name] for one, name in zip(given, ("scene", "family", "steps", "seed"), strict=True)
        }
        return settings | dict(zip(outputs, shown(record, studio), strict=True))

    return Form([*given, *outputs], show)
