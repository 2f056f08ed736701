"""The app: one tab for each task, built on the public API. Nothing is loaded before it is asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from . import results, words
from .examples import FOLDER, latest
from .jobs import Worker
from .limits import UPLOAD_MEGABYTES, Limits
from .pages import Form
from .records import Record
from .tabs import compress, editing, explore, fields, personalize, sound, sound_jobs
from .tabs.editing_models import found
from .theme import CSS, SCRIPT, theme
from .visitors import Studio, is_visitor, new_visitor

logger = logging.getLogger(__name__)

TABS: dict[str, tuple[str, Callable[[Studio, gr.BrowserState], Form]]] = {
    "personalize": ("Personalize", personalize.tab),
    "explore": ("Explore", explore.tab),
    "sound": ("Sound", sound.tab),
    "fields": ("3D fields", fields.tab),
    "editing": ("Edit 3D", editing.tab),
    "compress": ("Compress", compress.tab),
}
"""Name on the command line: title, short enough for all to stand in one row, and what builds it."""
TIDY = 600.0
"""Seconds between two looks for results that are too old."""
DRAWERS = ("personalize", "explore")
"""Tabs that draw learned words."""


def build(studio: Studio, names: Sequence[str] = tuple(TABS)) -> gr.Blocks:
    """The page with some of the tabs, and one for a visitor's results."""
    kept = round(3600 * studio.limits.keep_hours)
    with gr.Blocks(title="mapfield", analytics_enabled=False, delete_cache=(min(kept, 3600), kept)) as page:
        gr.Markdown(
            "# mapfield\nTeach an image generator your own things, hear what a picture sounds like, turn and edit 3D"
            " objects, and compress pictures. Everything runs on this computer. Every tab begins with a finished"
            f" example. Results and uploads are deleted after {studio.limits.kept}.",
            elem_classes="intro",
        )
        visitor = gr.BrowserState(storage_key="mapfield-visitor", secret="mapfield")
        forms: dict[str, Form] = {}
        items: dict[str, gr.Tab] = {}
        with gr.Tabs() as tabs:
            for name in names:
                title, tab = TABS[name]
                with gr.Tab(title, id=name) as items[name]:
                    forms[name] = tab(studio, visitor)
            with gr.Tab("Results", id="results") as entered:
                filling = Filling(studio, forms)
                results.tab(studio, visitor, {name: TABS[name][0] for name in names}, tabs, entered, filling)
        _wire_words(visitor, filling, items, tabs)
        _wire_start(page, visitor, filling)
    return page


class Filling:
    """Fills tabs with finished jobs.

    Args:
        studio: the app.
        forms: the tabs by name.
    """

    def __init__(self, studio: Studio, forms: dict[str, Form]):
        self.studio, self.forms = studio, forms
        self.components = [component for form in forms.values() for component in form.components]

    def values(self, visitor: str, records: Sequence[Record]) -> list[Any]:
        """A value for each of the components; of records of the same job the last one counts."""
        shown: dict[Any, Any] = {}
        for record in records:
            try:
                shown |= self.forms[record.tab].show(record) if record.tab in self.forms else {}
            except Exception:  # of an older version, or half deleted: the page begins without it
                logger.exception("the result %s cannot be shown", record.folder)
        for form in self.forms.values():
            chosen = [shown.get(word) for word in form.words]
            shown |= dict(zip(form.words, self.words(form, visitor, *chosen), strict=True))
        return [shown.get(component, gr.skip()) for component in self.components]

    def words(self, form: Form, visitor: str, *chosen: str | None) -> list[Any]:
        """The lists of learned words of a tab anew."""
        return [
            words.choices(self.studio, visitor, one, optional=i > 0 or not form.needs_word)
            for i, one in enumerate(chosen)
        ]

    def restore(self, visitor: str) -> list[Any]:
        """What a visitor last made, or the examples."""
        own = self.studio.results(visitor) if is_visitor(visitor) else []
        return self.values(visitor, latest(own)[::-1])


def _wire_start(page: gr.Blocks, visitor: gr.BrowserState, filling: Filling) -> None:
    """A visitor's number, and on the page what this visitor last made, or the examples."""
    given = page.load(
        lambda visitor: visitor if is_visitor(visitor) else new_visitor(), visitor, visitor, api_name="visitor",
        show_progress="hidden",
    )  # fmt: skip
    given.then(filling.restore, visitor, filling.components, api_visibility="private", show_progress="hidden")

    def cancel(visitor: str) -> str:
        """Take back all jobs of a visitor."""
        return filling.studio.cancel(visitor)

    gr.api(cancel, api_name="cancel", queue=False)


def _wire_words(visitor: gr.BrowserState, filling: Filling, items: dict[str, gr.Tab], tabs: gr.Tabs) -> None:
    """Learned words: the lists are up to date where a tab is entered, and a button takes a word to the other tab."""
    drawers = {name: form for name, form in filling.forms.items() if form.words}

    def lists(form: Form, visitor: str, *chosen: str | None) -> Any:
        made = filling.words(form, visitor, *chosen)
        return made if len(made) > 1 else made[0]

    for name, form in drawers.items():
        items[name].select(
            partial(lists, form), [visitor, *form.words], list(form.words), api_visibility="private",
            show_progress="hidden",
        )  # fmt: skip
    if not all(name in drawers for name in DRAWERS):
        return
    for source, target in (DRAWERS, DRAWERS[::-1]):
        there = drawers[target]

        def send(visitor: str, name: str | None, target: str = target, there: Form = there) -> Any:
            if not name:
                return gr.skip(), gr.skip(), gr.skip()
            token = words.word(filling.studio, visitor, name).settings["token"]
            text = words.prompts_with(token) if target == "explore" else words.prompt_with(token)
            return gr.Tabs(selected=target), filling.words(there, visitor, name)[0], text

        button = drawers[source].send
        assert button is not None
        button.click(
            send, [visitor, drawers[source].words[0]], [tabs, there.words[0], there.prompts],
            api_visibility="private", show_progress="hidden",
        )  # fmt: skip


def launch(
    names: Sequence[str], root: Path, *, models: Sequence[str] = ("nano",), sounds: Sequence[str] = ("nano",),
    categories: Sequence[str] = (), limits: Limits | None = None, users: dict[str, str] | None = None,
    wait: bool = True,
) -> gr.Blocks:  # fmt: skip
    """Serve the page where GRADIO_SERVER_PORT and GRADIO_SERVER_NAME say.

    Args:
        names: of `TABS`.
        root: folder of all results.
        models: text-to-image models to choose of.
        sounds: generators of sounds to choose of, each a folder with its picture tower and mapper in it.
        categories: category models to choose of; those of this installation when none is given.
        limits: what a visitor may ask.
        users: names and passwords; without any the page asks for none.
        wait: return only when the server is stopped.

    Raises:
        CategoryError: a category model is not one.
    """
    limits = limits or Limits()
    warm = [partial(sound_jobs.warm, sounds[0]), sound_jobs.warm_plots] if "sound" in names else []
    worker = Worker(limit=limits.job_seconds, each=limits.jobs, warm=warm)
    studio = Studio(root.resolve(), tuple(models), tuple(sounds), found(categories), worker, limits=limits)
    page = build(studio, names)
    worker.start()
    threading.Thread(target=_tidy, args=(studio,), daemon=True).start()
    page.queue(default_concurrency_limit=4, max_size=64)
    page.launch(
        share=False, max_file_size=f"{UPLOAD_MEGABYTES}mb", allowed_paths=[str(studio.root), str(FOLDER)],
        auth=list((users or {}).items()) or None, prevent_thread_lock=not wait, quiet=not wait, theme=theme(), css=CSS,
        js=SCRIPT, run_history=False, footer_links=["api", "settings"],
    )  # fmt: skip
    return page


def _tidy(studio: Studio) -> None:
    """Delete what is too old, as long as the app runs."""
    while True:
        with suppress(OSError):  # a visitor deleted the same just now
            studio.tidy()
        time.sleep(TIDY)
