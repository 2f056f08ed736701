"""The app: one tab for each capability, built on the public API. Nothing is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import gradio as gr

from .jobs import Worker
from .tabs import compress, editing, explore, fields, personalize, sound
from .tabs.editing_models import found
from .visitors import Studio, new_visitor

TABS: dict[str, tuple[str, Callable[[Studio, gr.BrowserState], None]]] = {
    "personalize": ("Word", personalize.tab),
    "explore": ("Map", explore.tab),
    "sound": ("Sound", sound.tab),
    "fields": ("Fields", fields.tab),
    "editing": ("Edit", editing.tab),
    "compress": ("File", compress.tab),
}
"""Name on the command line: title, short enough for all to stand in one row, and what builds it."""
UPLOAD_LIMIT = "20mb"
FONTS = ("system-ui", "sans-serif")
"""The machine's own: nothing is fetched, and text looks as elsewhere on it."""


def build(studio: Studio, names: Sequence[str] = tuple(TABS)) -> gr.Blocks:
    """The page with some of the tabs, and one for a visitor's earlier results."""
    with gr.Blocks(title="mapfield", analytics_enabled=False) as page:
        gr.Markdown("# mapfield\nFrozen models do new things through small trained networks.")
        visitor = gr.BrowserState(storage_key="mapfield-visitor", secret="mapfield")
        for name in names:
            title, tab = TABS[name]
            with gr.Tab(title):
                tab(studio, visitor)
        with gr.Tab("Your results") as results:
            gallery = gr.Gallery(label="Pictures of your jobs, the latest first", columns=6, elem_id="results")
        page.load(lambda visitor: visitor or new_visitor(), visitor, visitor, api_name="visitor")
        results.select(studio.results, visitor, gallery, api_name="results")
    return page


def launch(
    names: Sequence[str], root: Path, *, models: Sequence[str] = ("nano",), sounds: Sequence[str] = ("nano",),
    categories: Sequence[str] = (), wait: bool = True,
) -> gr.Blocks:  # fmt: skip
    """Serve the page where GRADIO_SERVER_PORT and GRADIO_SERVER_NAME say.

    Args:
        names: of `TABS`.
        root: folder of all results.
        models: text-to-image models to choose of.
        sounds: generators of sounds to choose of, each a folder with its picture tower and mapper in it.
        categories: category models to choose of; those of this installation when none is given.
        wait: return only when the server is stopped.

    Raises:
        CategoryError: a category model is not one.
    """
    worker = Worker(warm=[partial(sound.warm, sounds[0]), sound.warm_plots] if "sound" in names else [])
    page = build(Studio(root.resolve(), tuple(models), tuple(sounds), found(categories), worker), names)
    worker.start()
    page.queue(default_concurrency_limit=4, max_size=32)
    page.launch(
        share=False, max_file_size=UPLOAD_LIMIT, allowed_paths=[str(root.resolve())], prevent_thread_lock=not wait,
        quiet=not wait, theme=gr.themes.Soft(font=FONTS),
    )  # fmt: skip
    return page
