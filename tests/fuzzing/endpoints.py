"""Calls of the app's endpoints with random values and files."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demos.jobs import JobError, Worker

from . import guard, media
from .pictures import picture
from .values import ODD_VALUES, text

JOBS = {"code"}
"""Jobs that are done; commands try what the others are made of, which takes longer."""


class Bug(Exception):
    """What a visitor would read as "a bug, sorry"."""


class Impossible(Exception):
    """Gradio refuses a value itself: the page cannot send it."""


class Inline(Worker):
    """Does jobs in this process, so that what they raise is seen."""

    def run(self, visitor: str, work: Any, *, folder: Path | None = None, **arguments: Any) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        arguments = {name: value for name, value in arguments.items() if name not in ("tab", "watch")}
        if work.__name__ not in JOBS:
            raise JobError("jobs of this kind are not tried")
        try:
            yield work(**arguments if folder is None else {"folder": folder, **arguments})
        except (ValueError, RuntimeError, OSError) as error:
            raise JobError(str(error)) from error


def value(rng: random.Random, component: Any, folder: Path, visitor: str) -> Any:
    """A value for a component, mostly one that the page could send."""
    if isinstance(component, gr.BrowserState):
        return visitor if rng.random() < 0.9 else rng.choice(("../../etc", "", None, "0" * 31))
    if isinstance(component, gr.State):
        return copy.deepcopy(component.value)
    if rng.random() < 0.1:
        return rng.choice(ODD_VALUES)
    if isinstance(component, gr.Gallery):
        return [str(picture(rng, folder, f"g{i}")) for i in range(rng.randrange(3))] or None
    if isinstance(component, gr.Video):
        return str(media.film(rng, folder, "v")) if rng.random() < 0.5 else None
    if isinstance(component, gr.Image | gr.File):
        makers = (picture, picture, media.film)
        return str(rng.choice(makers)(rng, folder, f"p{rng.randrange(99)}")) if rng.random() < 0.9 else None
    if isinstance(component, gr.Dropdown | gr.Radio):
        return rng.choice([choice for _, choice in component.choices] or [None])
    if isinstance(component, gr.Checkbox):
        return rng.random() < 0.5
    if isinstance(component, gr.Number | gr.Slider):
        low, high = component.minimum or 0, component.maximum
        return rng.choice((low, 100 if high is None else high, 1, None))
    if isinstance(component, gr.Textbox):
        return text(rng, "a photo of a <my-teapot>", "a bell")
    return None


def called(function: Any, values: list[Any]) -> None:
    """Call an endpoint as Gradio does, which refuses values that a component cannot have.

    Raises:
        Impossible: a component has no such value.
    """
    given = []
    for component, one in zip(function.inputs, values, strict=True):
        if isinstance(component, gr.Dropdown | gr.Radio | gr.Number | gr.Slider) and not isinstance(one, list | dict):
            try:
                one = component.preprocess(one)
            except (TypeError, ValueError, gr.Error) as error:
                raise Impossible from error
        given.append(one)
    answer = function.fn(*given)
    if hasattr(answer, "__next__"):
        for _ in answer:
            pass


def look(page: gr.Blocks, rng: random.Random, folder: Path, root: Path, visitor: str) -> guard.Answer:
    """Try one of the page's endpoints."""
    endpoints = [one for one in page.fns.values() if one.api_visibility == "public" and isinstance(one.api_name, str)]
    function = rng.choice(endpoints)
    values = [value(rng, component, folder, visitor) for component in function.inputs]

    def work() -> tuple[int, str]:
        try:
            called(function, values)
        except Impossible:
            return 2, "usage"
        except gr.Error as error:
            if "This is a bug" in str(error.message):
                raise Bug(error.message) from error.__context__
            return 2, f"error: {error.message}"
        return 0, ""

    about = f"/{function.api_name} " + " ".join(repr(one)[:60] for one in values)
    with guard.working_in(folder):
        return guard.watched(about, work, folder, [root])
