"""Tab: a chair or a car in three dimensions, edited by words and pictures."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from ..pages import Form, Reply
from ..records import Record, Task
from ..visitors import State, Studio, refusal
from . import editing_jobs as jobs
from .editing_jobs import PREVIEW, START, VIEWS, Angles, Place, Scene, Way
from .editing_layout import layout, samples_of
from .editing_models import SHIPPED, TRAINING, Category
from .editing_wiring import PageState, Wiring

WAYS: tuple[Way, ...] = ("undo", "redo", "start_again")
TAB = "editing"
SETTLED = 0.5
"""Seconds without another preview after which a picture is drawn sharply: a slider moved by keys sends no release."""


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def loading(self, model: str) -> Generator[State, None, None]:
        """Tells that a model is loaded first, where it is."""
        if not self.studio.editors.has(model):
            yield f"Loading the model {model}, which takes some seconds ..."

    def enter(self, place: Place | None, page: PageState) -> Generator[State, None, Any]:
        """The first object, where the page shows none yet."""
        if place is not None:
            return gr.skip()
        category = self.studio.categories[0]
        yield from self.loading(category.name)
        seen = jobs.look(self.studio, Place(category.name, 0), START)
        return category.name, *of_model(category, 0), *START, *shown(seen, START, page)

    def model(self, model: str, azimuth: float, elevation: float, page: PageState) -> Generator[State, None, Any]:
        """The first object of another model."""
        category = jobs.category_of(self.studio, model)
        yield from self.loading(model)
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
    ) -> Generator[State, None, Reply]:  # fmt: skip
        """Towards a text or a picture."""
        if exemplar:
            self.studio.check_picture(exemplar, "")
        yield from self.loading(model)
        angles = azimuth, elevation
        seen, doubt = jobs.edit(
            self.studio, visitor, current(place, model, instance), angles, text=text, exemplar=exemplar,
            strength=strength, shape=shape, appearance=appearance,
        )  # fmt: skip
        return Reply(shown(seen, angles, page), doubt)

    def example(
        self, sample: list[str], model: str, instance: float, *given: Any
    ) -> Generator[State, None, Reply]:  # fmt: skip
        """Towards an example text; ``given`` are the further arguments of `edit`, from strength on."""
        reply = yield from self.edit(model, instance, sample[0], None, *given)
        return Reply((sample[0], None, *reply.values), reply.text)

    def step(self, way: Way) -> Any:
        """Undo, redo, or all the way back."""

        def on_step(
            azimuth: float, elevation: float, place: Place | None, page: PageState, visitor: str
        ) -> tuple[Any, ...]:
            angles = azimuth, elevation
            return shown(jobs.step(self.studio, visitor, known(place), angles, way), angles, page)

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

    def find(
        self, model: str, instance: float, picture: str | None, seed: float, visitor: str, page: PageState
    ) -> Generator[State, None, tuple[Any, ...]]:
        """The object of a picture, seen as there."""
        file = self.studio.check_picture(picture, "there is no picture yet; drop one")
        category = jobs.category_of(self.studio, model)
        settings = {"model": model, "instance": int(instance), "seed": int(seed)}
        task = Task(TAB, f"{model}, the object of {Path(file).name}", settings, {"picture": file})
        record = yield from self.studio.work(visitor, jobs.find, task, category=category, file=file, seed=int(seed))
        made = record.made
        place, angles = Place(model, int(instance), Path(made["session"])), made["angles"]
        seen = jobs.look(self.studio, place, angles)
        return *angles, tuple(made["pictures"]), made["said"], *shown(seen, angles, page)

    def turn(
        self, elevation: float, visitor: str, place: Place | None
    ) -> Generator[State, None, tuple[Any, list[str]]]:
        """A film."""
        if place is None or place.session is None:
            raise refusal("there is no edit to film yet; make one")
        category = jobs.category_of(self.studio, place.category)
        task = Task(TAB, f"{place.category} {place.instance} from all sides", {"elevation": elevation})
        record = yield from self.studio.work(
            visitor, jobs.turn, task, steps=VIEWS, category=category, session=place.session, elevation=elevation
        )
        film = record.made["film"]
        return gr.Image(value=film, visible=True), [str(place.session), film]


def shown(seen: Scene, sharp: Angles | None, page: PageState) -> tuple[Any, ...]:
    """Values of a place's components; a film is of what was before, and goes."""
    page.sharp = sharp
    return (*seen[:-1], gr.Image(value=None, visible=False), *free(seen.ways))


def free(ways: Any) -> list[Any]:
    """Which of the buttons Undo, Redo and Start again can be pressed."""
    return [gr.update(interactive=way in ways) for way in WAYS]


def of_model(category: Category, instance: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs from model to model: objects and examples."""
    return gr.update(maximum=max(1, category.count - 1), value=instance), gr.update(samples=samples_of(category))


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


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    if not studio.categories:
        gr.Markdown(
            f"No category model ({' or '.join(SHIPPED)}) is part of this installation; train one with `{TRAINING}`, and"
            " start the app with `--categories runs/chairs/model`."
        )
        return Form([], lambda record: {})
    wiring = Wiring(Handlers(studio), visitor, *layout(studio))
    wiring.objects()
    wiring.edits()
    wiring.angles_and_jobs()
    return Form(wiring.filled, lambda record: values_of(record, studio, wiring))


def values_of(record: Record, studio: Studio, wiring: Wiring) -> dict[Any, Any]:
    """Values of the tab's components for a finished job; no model is loaded for it."""
    names = [category.name for category in studio.categories]
    settings, made, controls, search = record.settings, record.made, wiring.controls, wiring.search
    if record.job == "turn":
        return {wiring.views.film: gr.Image(value=made["film"], visible=True)}
    if record.job not in ("edit", "find") or settings["model"] not in names:
        return {}
    category = jobs.category_of(studio, settings["model"])
    place = Place(category.name, settings["instance"], Path(made["session"]))
    instance, examples = of_model(category, place.instance)
    given: dict[Any, Any] = {controls.model: category.name, controls.instance: instance, controls.examples: examples}
    if record.job == "edit":
        pictures, ways = (made["before"], made["after"]), made["ways"]
        given |= {
            controls.text: settings["text"], controls.exemplar: settings["exemplar"],
            controls.strength: settings["strength"], controls.shape: settings["shape"],
            controls.appearance: settings["appearance"],
        }  # fmt: skip
    else:
        pictures, ways = (made["pictures"][1], made["pictures"][1]), ()
        given |= {
            search.picture: settings["picture"], search.seed: settings["seed"],
            search.compared: tuple(made["pictures"]), search.said: made["said"],
            wiring.views.azimuth: made["angles"][0], wiring.views.elevation: made["angles"][1],
        }  # fmt: skip
    seen = (place, *pictures, made["history"], [made["session"]], gr.Image(value=None, visible=False), *free(ways))
    return given | dict(zip(wiring.shown, seen, strict=True))
