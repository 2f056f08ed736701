"""Which event of the tab Edit 3D calls which handler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..pages import Desk, cancelling, on
from .editing_layout import Controls, Search, Views

if TYPE_CHECKING:
    from .editing import Handlers


@dataclass
class PageState:
    """What a page was last sent; kept on the server."""

    sharp: tuple[float, float] | None = None
    """Azimuth and elevation of its pictures; None while they are previews."""
    previews: int = 0
    """Previews drawn so far."""


class Wiring:
    """Wires handlers to components."""

    def __init__(self, handlers: Handlers, visitor: gr.BrowserState, controls: Controls, views: Views, search: Search):
        self.handlers, self.visitor = handlers, visitor
        self.controls, self.views, self.search = controls, views, search
        self.place, self.page = gr.State(None), gr.State(PageState())
        self.angles = [views.azimuth, views.elevation]
        self.pictures = [views.before, views.after]
        self.seen = [self.angles[0], self.angles[1], self.place, self.page]
        self.shown = [
            self.place, *self.pictures, views.history, views.files, views.film,
            *(views.steps[way] for way in ("undo", "redo", "start_again")),
        ]  # fmt: skip
        given = [
            controls.model, controls.instance, controls.examples, controls.text, controls.exemplar,
            controls.strength, controls.shape, controls.appearance,
        ]  # fmt: skip
        found = [search.picture, search.seed, search.compared, search.said]
        self.filled: list[Any] = [*given, *found, *self.angles, *self.shown]
        self.quick: dict[str, Any] = {"concurrency_id": "edit", "concurrency_limit": 1, "at": Desk(controls.at.note)}
        self.moving: dict[str, Any] = {"trigger_mode": "always_last"}

    def objects(self) -> None:
        """Entering the tab, another model, another object."""
        handlers, controls, quick = self.handlers, self.controls, self.quick
        around = gr.context.Context.block
        if isinstance(around, gr.Tab):
            on(
                around.select, handlers.enter, [self.place, self.page],
                [controls.model, controls.instance, controls.examples, *self.angles, *self.shown],
                api_name="enter", **quick,
            )  # fmt: skip
        on(
            controls.model.input, handlers.model, [controls.model, *self.angles, self.page],
            [controls.text, controls.instance, controls.examples, *self.shown], api_name="choose_model", **quick,
        )  # fmt: skip
        wanted = [controls.model, controls.instance, *self.seen]
        on(controls.instance.release, handlers.choose, wanted, self.shown, api_name="choose", **self.moving, **quick)
        moved = on(
            controls.instance.input, handlers.preview_object, wanted, self.shown, api_visibility="private",
            **self.moving, **quick,
        )  # fmt: skip
        self._settle(moved)

    def edits(self) -> None:
        """Edits, and the way back."""
        handlers, controls, quick = self.handlers, self.controls, self.quick
        quick = quick | {"at": controls.at}
        inputs: list[Any] = [
            controls.model, controls.instance, controls.text, controls.exemplar, controls.strength, controls.shape,
            controls.appearance, *self.angles, self.visitor, self.place, self.page,
        ]  # fmt: skip
        on([controls.at.pressed, controls.text.submit], handlers.edit, inputs, self.shown, api_name="edit", **quick)
        # Of a text and a picture the latest counts.
        silent: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
        on(
            controls.examples.click, handlers.example, [controls.examples, *inputs[:2], *inputs[4:]],
            [controls.text, controls.exemplar, *self.shown], api_visibility="private", **quick,
        )  # fmt: skip
        controls.exemplar.upload(lambda: "", None, controls.text, **silent)
        controls.text.input(
            lambda text: None if text.strip() else gr.skip(), controls.text, controls.exemplar, **silent
        )
        for way, button in self.views.steps.items():
            on(button.click, handlers.step(way), [*self.seen, self.visitor], self.shown, api_name=way, **quick)

    def angles_and_jobs(self) -> None:
        """Views from elsewhere, and what takes long and can be cancelled."""
        handlers, views, search = self.handlers, self.views, self.search
        moved = on(
            [angle.input for angle in self.angles], handlers.preview, self.seen, self.pictures,
            api_name="preview", **self.moving, **self.quick,
        )  # fmt: skip
        self._settle(moved)
        on(
            [angle.release for angle in self.angles], handlers.look, self.seen, self.pictures,
            api_name="look_at", **self.moving, **self.quick,
        )  # fmt: skip
        on(
            search.at.pressed, handlers.find,
            [self.controls.model, self.controls.instance, search.picture, search.seed, self.visitor, self.page],
            [*self.angles, search.compared, search.said, *self.shown], at=search.at, api_name="find",
        )  # fmt: skip
        on(
            views.turn.pressed, handlers.turn, [views.elevation, self.visitor, self.place], [views.film, views.files],
            at=views.turn, api_name="turntable",
        )  # fmt: skip
        for at in (search.at, views.turn):
            cancelling(handlers.studio, self.visitor, at, "editing")

    def _settle(self, moved: Any) -> None:
        moved.then(self.handlers.settle, self.seen, self.pictures, api_visibility="private", show_progress="hidden")
