"""The app: one tab for each capability, built on the public API. Nothing is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr

from . import codec, fields, personalize, sound
from .studio import Studio, new_visitor

TABS: dict[str, tuple[str, Callable[[Studio, gr.BrowserState], None]]] = {
    "personalize": ("A new word from pictures", personalize.tab),
    "sound": ("A sound for a picture", sound.tab),
    "fields": ("One field from another", fields.tab),
    "codec": ("A picture as a small file", codec.tab),
}
"""Name on the command line: title, and what builds it."""
UPLOAD_LIMIT = "20mb"


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
            gallery = gr.Gallery(label="Pictures of your jobs, the latest first", columns=6)
        page.load(lambda visitor: visitor or new_visitor(), visitor, visitor, api_name="visitor")
        results.select(studio.results, visitor, gallery, api_name="results")
    return page


def launch(names: Sequence[str], root: Path, *, wait: bool = True) -> gr.Blocks:
    """Serve the page where GRADIO_SERVER_PORT and GRADIO_SERVER_NAME say.

    Args:
        names: of `TABS`.
        root: folder of all results.
        wait: return only when the server is stopped.
    """
    page = build(Studio(root.resolve()), names)
    page.queue(default_concurrency_limit=4, max_size=32)
    page.launch(
        share=False, max_file_size=UPLOAD_LIMIT, allowed_paths=[str(root.resolve())], prevent_thread_lock=not wait,
        quiet=not wait, theme=gr.themes.Soft(),
    )  # fmt: skip
    return page
