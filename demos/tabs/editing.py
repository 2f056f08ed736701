"""Tab: a chair or a car in three dimensions, edited by words and pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..visitors import Studio, job, refusal
from . import editing_jobs as jobs
from .editing_jobs import LONGEST, PREVIEW, SHOWN, START, VIEWS, Angles, Place, Scene, Way
from .editing_models import SHIPPED, TRAINING, Category

EXAMPLES = {
    "chairs": ("a tall red chair", "a chair with thin blue legs", "a wide chair with a green back"),
    "cars": ("a long red car", "a tall yellow car", "a car with a spoiler and black wheels"),
}
"""One click away, by family."""
SETTLED = 0.5
"""Seconds without another preview after which a picture is drawn sharply: a slider moved by keys sends no release."""


@dataclass
class PageState:
    """What a page was last sent; kept on the server."""

    sharp: Angles | None = None
    """Azimuth and elevation of its pictures; None while they are previews."""
    previews: int = 0
    """Previews drawn so far."""


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def enter(self, place: Place | None, page: PageState, visitor: str) -> Any:
        """Where the page has no object yet: the visitor's newest edits, else the first object."""
        if place is not None:
            return gr.skip()
        first, kept = Place(self.studio.categories[0].name, 0), jobs.latest(self.studio, visitor)
        try:
            seen = jobs.look(self.studio, kept or first, START)
        except gr.Error:
            if kept is None:
                raise
            seen = jobs.look(self.studio, first, START)  # the model was trained anew since those edits
        category = jobs.category_of(self.studio, seen[0].category)
        return category.name, *of_model(category, seen[0].instance), *START, *shown(seen, START, page)

    def model(self, model: str, azimuth: float, elevation: float, page: PageState) -> tuple[Any, ...]:
        """The first object of another model."""
        category = jobs.category_of(self.studio, model)
        seen = jobs.look(self.studio, Place(model, 0), (azimuth, elevation))
        text = samples_of(category)[0][0]
        return text, *of_model(category, 0), *shown(seen, (azimuth, elevation), page)

    def choose(
        self, model: str, instance: float, azimuth: float, elevation: float, place: Place | None, page: PageState
    ) -> Any:
        """Another object, sharply."""
        wanted, angles = current(place, model, instance), (azimuth, elevation)
        if wanted == place and page.sharp == angles:
            return gr.skip()
        return shown(jobs.look(self.studio, wanted, angles), angles, page)

    def preview_object(
        self, model: str, instance: float, azimuth: float, elevation: float, place: Place | None, page: PageState
    ) -> Any:
        """Another object coarsely, while the slider moves."""
        wanted = current(place, model, instance)
        if wanted == place:
            return gr.skip()
        page.previews += 1
        return shown(jobs.look(self.studio, wanted, (azimuth, elevation), PREVIEW), None, page)

    def edit(
        self, model: str, instance: float, text: str, exemplar: str | None, strength: float, shape: bool,
        appearance: bool, azimuth: float, elevation: float, visitor: str, place: Place | None, page: PageState,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Towards a text or a picture."""
        angles = azimuth, elevation
        seen, doubt = jobs.edit(
            self.studio, visitor, current(place, model, instance), angles, text=text, exemplar=exemplar,
            strength=strength, shape=shape, appearance=appearance,
        )  # fmt: skip
        if doubt:
            gr.Warning(doubt)
        return shown(seen, angles, page)

    def step(self, way: Way) -> Any:
        """Undo, redo, or all the way back."""

        def on_step(azimuth: float, elevation: float, place: Place | None, page: PageState) -> tuple[Any, ...]:
            angles = azimuth, elevation
            return shown(jobs.step(self.studio, known(place), angles, way), angles, page)

        return on_step

    def preview(self, azimuth: float, elevation: float, place: Place | None, page: PageState) -> Any:
        """Both pictures coarsely, while a slider moves."""
        if page.sharp == (azimuth, elevation):  # it was let go before this came up
            return gr.skip()
        page.previews += 1
        page.sharp = None
        return jobs.look(self.studio, known(place), (azimuth, elevation), PREVIEW)[1:3]

    def look(self, azimuth: float, elevation: float, place: Place | None, page: PageState) -> tuple[Any, Any]:
        """Both pictures sharply."""
        seen = jobs.look(self.studio, known(place), (azimuth, elevation))
        page.sharp = azimuth, elevation
        return seen[1:3]

    def settle(self, azimuth: float, elevation: float, place: Place | None, page: PageState) -> Any:
        """Both pictures sharply, unless a slider moves on."""
        previews = page.previews
        time.sleep(SETTLED)
        if page.previews != previews or page.sharp is not None:
            return gr.skip()
        seen = jobs.look(self.studio, known(place), (azimuth, elevation))
        if page.previews != previews:  # it did while this was drawn
            return gr.skip()
        page.sharp = azimuth, elevation
        return seen[1:3]

    @job
    def find(
        self, model: str, instance: float, picture: str | None, seed: float, visitor: str, page: PageState,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:  # fmt: skip
        """The object of a picture, seen as there."""
        if not picture:
            raise refusal("there is no picture yet; drop one")
        category = jobs.category_of(self.studio, model)
        made = self.studio.work(visitor, jobs.find, progress=progress, category=category, file=picture, seed=int(seed))
        place, angles = Place(model, int(instance), made["session"]), made["angles"]
        seen = jobs.look(self.studio, place, angles)
        return *angles, tuple(made["pictures"]), made["said"], *shown(seen, angles, page)

    @job
    def turn(
        self, elevation: float, visitor: str, place: Place | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, list[str]]:  # fmt: skip
        """A film."""
        if place is None or place.session is None:
            raise refusal("there is no edit to turn around yet; make one")
        category = jobs.category_of(self.studio, place.category)
        made = self.studio.work(
            visitor, jobs.turn, progress=progress, steps=VIEWS, category=category, session=place.session,
            elevation=elevation,
        )  # fmt: skip
        return made["film"], [str(place.session), made["film"]]


def shown(seen: Scene, sharp: Angles | None, page: PageState) -> tuple[Any, ...]:
    """Values of a place's components; a film is of what was before, and goes."""
    page.sharp = sharp
    return (*seen, None)


def of_model(category: Category, instance: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs from model to model: objects and examples."""
    return gr.update(maximum=max(1, category.count - 1), value=instance), gr.update(samples=samples_of(category))


def samples_of(category: Category) -> list[list[str]]:
    """Example texts."""
    return [[text] for text in EXAMPLES.get(category.family, ("red",))]


def current(place: Place | None, model: str, instance: float) -> Place:
    """A page's place, or that of an unedited object if another is wanted than the page has."""
    if place is not None and (place.category, place.instance) == (model, int(instance)):
        return place
    return Place(model, int(instance))


def known(place: Place | None) -> Place:
    """A place that is one.

    Raises:
        gr.Error: the page has none yet.
    """
    if place is None:
        raise refusal("there is no object yet; choose one")
    return place


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    if not studio.categories:
        gr.Markdown(
            f"No category model ({' or '.join(SHIPPED)}) is part of this installation; train one with `{TRAINING}`, and"
            " start the app with `--categories runs/chairs/model`."
        )
        return
    gr.Markdown(
        "Say what an object should be, or show a picture of one that it should be like: a small network moves its two"
        " codes, of shape and of appearance. The next edit goes on from there."
    )
    with gr.Row():
        with gr.Column():
            controls = _controls(studio)
        with gr.Column(scale=2):
            views = _views()
    page = _Page(Handlers(studio), visitor, controls, views)
    page.wire_objects()
    page.wire_edits()
    page.wire_views()
    page.wire_jobs()


@dataclass(frozen=True)
class Controls:
    """What an edit is asked for with."""

    model: gr.Dropdown
    instance: gr.Slider
    text: gr.Textbox
    examples: gr.Dataset
    exemplar: gr.File
    strength: gr.Slider
    shape: gr.Checkbox
    appearance: gr.Checkbox
    start: gr.Button
    steps: dict[Way, gr.Button]
    picture: gr.File
    seed: gr.Number
    find: gr.Button
    stop: gr.Button
    compared: gr.ImageSlider
    said: gr.Markdown


@dataclass(frozen=True)
class Views:
    """What is seen of it."""

    before: gr.Image
    after: gr.Image
    azimuth: gr.Slider
    elevation: gr.Slider
    history: gr.Textbox
    turn: gr.Button
    stop: gr.Button
    film: gr.Image
    files: gr.File


def _controls(studio: Studio) -> Controls:
    first, most = studio.categories[0], max(category.count for category in studio.categories)
    model = gr.Dropdown([category.name for category in studio.categories], value=first.name, label="Model")
    instance = gr.Slider(0, max(1, most - 1), 0, step=1, label="Object", info="of those that the model was trained on")
    text = gr.Textbox(samples_of(first)[0][0], label="What it should be", max_length=LONGEST)
    examples = gr.Dataset(components=["textbox"], samples=samples_of(first), label="Examples: a click edits by one")
    with gr.Accordion("Like a picture instead", open=False):
        exemplar = gr.File(label="Picture of an object that it should be like", file_types=["image"], height=150)
    strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength")
    with gr.Row():
        shape, appearance = gr.Checkbox(True, label="shape"), gr.Checkbox(True, label="appearance")
    start = gr.Button("Edit", variant="primary")
    with gr.Row():
        titles: dict[Way, str] = {"undo": "Undo", "redo": "Redo", "start_again": "Start again"}
        steps = {way: gr.Button(title, size="sm", min_width=60) for way, title in titles.items()}
    with gr.Accordion("Find the object of a picture", open=False):
        picture = gr.File(label="Picture of an object on a plain ground", file_types=["image"], height=150)
        seed = gr.Number(0, label="Seed of the search", precision=0)
        with gr.Row():
            find, stop = gr.Button("Find it"), gr.Button("Cancel")
        compared = gr.ImageSlider(label="Picture and object found: drag the line", interactive=False, height=240)
        said = gr.Markdown()
    return Controls(
        model, instance, text, examples, exemplar, strength, shape, appearance, start, steps, picture, seed, find,
        stop, compared, said,
    )  # fmt: skip


def _views() -> Views:
    with gr.Row():
        before = gr.Image(label="Before", interactive=False, height=SHOWN, alt_text="The object before the edits")
        after = gr.Image(
            label="After", interactive=False, height=SHOWN, elem_id="edited", alt_text="The object after the edits"
        )
    with gr.Row():
        azimuth = gr.Slider(0, 359, START[0], step=1, label="View from azimuth", info="coarse while it moves")
        elevation = gr.Slider(-5, 85, START[1], step=1, label="View from elevation")
    history = gr.Textbox(label="Done so far", lines=2, max_lines=8, interactive=False)
    with gr.Row():
        turn, stop = gr.Button("Turn it around"), gr.Button("Cancel")
    film = gr.Image(label="Before and after, turning", interactive=False, height=200, alt_text="Film of both")
    files = gr.File(label="To take away: the edits and the film", file_count="multiple", height=120)
    return Views(before, after, azimuth, elevation, history, turn, stop, film, files)


class _Page:
    """Wires handlers to components."""

    def __init__(self, handlers: Handlers, visitor: gr.BrowserState, controls: Controls, views: Views):
        self.handlers, self.visitor, self.controls, self.views = handlers, visitor, controls, views
        self.place, self.page = gr.State(None), gr.State(PageState())
        self.angles = [views.azimuth, views.elevation]
        self.pictures = [views.before, views.after]
        self.seen = [self.angles[0], self.angles[1], self.place, self.page]
        self.shown = [self.place, *self.pictures, views.history, views.files, views.film]
        self.quick: dict[str, Any] = {"concurrency_id": "edit", "concurrency_limit": 1}
        self.moving: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}

    def wire_objects(self) -> None:
        """Entering the tab, another model, another object."""
        handlers, controls, quick = self.handlers, self.controls, self.quick
        around = gr.context.Context.block
        if isinstance(around, gr.Tab):
            around.select(
                handlers.enter, [self.place, self.page, self.visitor],
                [controls.model, controls.instance, controls.examples, *self.angles, *self.shown],
                api_name="enter", **quick,
            )  # fmt: skip
        controls.model.input(
            handlers.model, [controls.model, *self.angles, self.page],
            [controls.text, controls.instance, controls.examples, *self.shown], api_name="choose_model", **quick,
        )  # fmt: skip
        wanted = [controls.model, controls.instance, *self.seen]
        controls.instance.release(
            handlers.choose, wanted, self.shown, api_name="choose", **self.moving, **quick
        )  # fmt: skip
        moved = controls.instance.input(
            handlers.preview_object, wanted, self.shown, api_name=False, **self.moving, **quick
        )
        self._settle(moved)

    def wire_edits(self) -> None:
        """Edits, and the way back."""
        handlers, controls, quick = self.handlers, self.controls, self.quick
        inputs: list[Any] = [
            controls.model, controls.instance, controls.text, controls.exemplar, controls.strength, controls.shape,
            controls.appearance, *self.angles, self.visitor, self.place, self.page,
        ]  # fmt: skip
        gr.on([controls.start.click, controls.text.submit], handlers.edit, inputs, self.shown, api_name="edit", **quick)
        chosen = controls.examples.click(
            lambda sample: (sample[0], None), controls.examples, [controls.text, controls.exemplar],
            api_name=False, queue=False,
        )  # fmt: skip
        chosen.then(handlers.edit, inputs, self.shown, api_name=False, **quick)
        # Of a text and a picture the latest counts.
        silent: dict[str, Any] = {"api_name": False, "queue": False, "show_progress": "hidden"}
        controls.exemplar.upload(lambda: "", None, controls.text, **silent)
        controls.text.change(
            lambda text: None if text.strip() else gr.skip(), controls.text, controls.exemplar, **silent
        )
        for way, button in controls.steps.items():
            button.click(handlers.step(way), self.seen, self.shown, api_name=way, **quick)

    def wire_views(self) -> None:
        """PageState from elsewhere."""
        handlers = self.handlers
        moved = gr.on(
            [angle.input for angle in self.angles], handlers.preview, self.seen, self.pictures,
            api_name="preview", **self.moving, **self.quick,
        )  # fmt: skip
        self._settle(moved)
        gr.on(
            [angle.release for angle in self.angles], handlers.look, self.seen, self.pictures,
            api_name="look_at", **self.moving, **self.quick,
        )  # fmt: skip

    def wire_jobs(self) -> None:
        """What takes long and can be cancelled."""
        handlers, controls, views = self.handlers, self.controls, self.views
        work: dict[str, Any] = {"concurrency_id": "work", "concurrency_limit": 1}
        controls.find.click(
            handlers.find,
            [controls.model, controls.instance, controls.picture, controls.seed, self.visitor, self.page],
            [*self.angles, controls.compared, controls.said, *self.shown], api_name="find", **work,
        )  # fmt: skip
        views.turn.click(
            handlers.turn, [views.elevation, self.visitor, self.place], [views.film, views.files],
            api_name="turntable", **work,
        )  # fmt: skip
        for button in (controls.stop, views.stop):
            button.click(handlers.studio.cancel, self.visitor, None, api_name=False, queue=False)

    def _settle(self, moved: Any) -> None:
        moved.then(self.handlers.settle, self.seen, self.pictures, api_name=False, show_progress="hidden")
