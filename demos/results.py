"""Tab: what a visitor's jobs made, with the settings: to be found, used again, downloaded and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from . import records
from .pages import Desk, Note, Reply, heard, on, seen, stills
from .records import FILMS, SOUNDS, Record
from .visitors import Studio, refusal

ALL = "every tab"


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    words: gr.Textbox
    tab: gr.Dropdown
    gallery: gr.Gallery
    note: gr.HTML
    chosen: gr.State
    shown: gr.State
    summary: gr.HTML
    pictures: gr.Gallery
    sound: gr.Audio
    film: gr.Video
    files: gr.File
    again: gr.Button
    delete: gr.Button
    bundle: gr.Button
    zip: gr.File
    delete_all: gr.Button
    certain: gr.Button


def layout(studio: Studio, titles: Mapping[str, str]) -> Page:
    """Build them."""
    gr.Markdown(
        f"All that your jobs made, with their settings. It is deleted {studio.limits.kept} after it was made; your"
        " browser keeps the number by which the app knows you, and whoever has that number can see your results."
    )
    with gr.Row():
        words = gr.Textbox(label="Search", placeholder="words of a prompt, a title or a setting", scale=3)
        tab = gr.Dropdown([(ALL, ""), *((title, name) for name, title in titles.items())], value="", label="Tab")
    with gr.Row():
        with gr.Column():
            gallery = gr.Gallery(
                label="Your results (newest first)", columns=3, elem_id="results", allow_preview=False, buttons=[],
                object_fit="contain", height=520,
            )  # fmt: skip
            bundle = gr.Button("Download all that is listed", size="sm")
            zip_file = gr.File(label="Download", height=90, interactive=False, visible=False)
            delete_all = gr.Button("Delete everything of mine", size="sm")
            certain = gr.Button("Really delete everything: press once more", variant="stop", size="sm", visible=False)
        with gr.Column():
            with gr.Row():
                again = gr.Button("Use again", variant="primary", interactive=False)
                delete = gr.Button("Delete", interactive=False)
            note = Note("")
            summary = gr.HTML(elem_id="summary")
            pictures = stills("Pictures", columns=3, visible=False)
            sound = heard("Sound", visible=False)
            film = seen("Film", visible=False)
            files = gr.File(label="Files", file_count="multiple", interactive=False, visible=False)
    return Page(
        words, tab, gallery, note, gr.State(None), gr.State([]), summary, pictures, sound, film, files, again, delete,
        bundle, zip_file, delete_all, certain,
    )  # fmt: skip


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio, titles: Mapping[str, str]):
        self.studio, self.titles = studio, titles

    def find(self, visitor: str, words: str, tab: str) -> list[Record]:
        """The visitor's results of a tab, or of all, that hold some words."""
        return [record for record in self.studio.results(visitor, words) if tab in ("", record.tab)]

    def listed(self, visitor: str, words: str, tab: str) -> Reply:
        """The list."""
        found = self.find(visitor, words, tab)
        cards = [(str(record.thumbnail() or _blank(self.studio)), self.caption(record)) for record in found]
        nothing = "Nothing is found; search for less." if words or tab else "There are no results yet."
        return Reply((gr.Gallery(value=cards, selected_index=None), [record.id for record in found]),
                    "" if found else nothing)  # fmt: skip

    def caption(self, record: Record) -> str:
        """What stands below a result in the list."""
        return f"{self.titles.get(record.tab, record.tab)}: {record.title[:80]}"

    def choose(self, visitor: str, shown: list[str], event: gr.SelectData) -> tuple[Any, ...]:
        """Show one of the list."""
        name = shown[event.index] if 0 <= event.index < len(shown) else None
        return self.details(self.studio.record(visitor, name))

    def details(self, record: Record | None) -> tuple[Any, ...]:
        """Values of what is shown of a result; of none."""
        free = gr.update(interactive=record is not None)
        if record is None:
            gone = [gr.update(visible=False, value=None) for _ in range(4)]
            return None, "", *gone, free, free
        files = record.files()
        pictures = [str(path) for path in record.pictures()]
        sound, film = (next((str(p) for p in files if p.suffix in endings), None) for endings in (SOUNDS, FILMS))
        shows = [gr.update(visible=bool(value), value=value or None) for value in (pictures, sound, film)]
        return record.id, summary(record), *shows, gr.update(visible=True, value=[str(p) for p in files]), free, free

    def delete(self, chosen: str | None, visitor: str, words: str, tab: str) -> Reply:
        """Delete the result that is shown."""
        if chosen is None:
            raise refusal("no result is chosen; choose one of the list")
        self.studio.delete(visitor, chosen)
        reply = self.listed(visitor, words, tab)
        return Reply((*reply.values, *self.details(None)), "Deleted.")

    def delete_all(self, visitor: str) -> Reply:
        """Delete everything of a visitor."""
        self.studio.worker.cancel(visitor)
        self.studio.delete(visitor)
        reply = self.listed(visitor, "", "")
        return Reply((*reply.values, *self.details(None), gr.update(visible=False)), "Everything of yours is deleted.")

    def bundle(self, visitor: str, words: str, tab: str) -> Any:
        """A zip file of all results that are listed."""
        found = self.find(visitor, words, tab)
        if not found:
            raise refusal("there are no results to download")
        path = records.bundle(found, self.studio.folder(visitor) / "download" / "mapfield-results.zip")
        return gr.File(value=str(path), visible=True)


def summary(record: Record) -> str:
    """A result's title, time and settings as HTML; every text of a visitor's is escaped."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(name.replace('_', ' '))}</th><td>{escape(_text(value))}</td></tr>"
        for name, value in record.settings.items()
        if value not in (None, "", [])
    )
    return f"<h3>{escape(record.title)}</h3><p>{record.when}</p><table class='settings'>{rows}</table>"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return Path(value).name if isinstance(value, str) and value.startswith("/") else str(value)


def _blank(studio: Studio) -> Path:
    """What represents a result without a picture."""
    from PIL import Image

    path = studio.root / "examples" / "file.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "#e0e7ff").save(path)
    return path


class Fills(Protocol):
    """Fills the other tabs."""

    components: Sequence[Any]

    def values(self, visitor: str, records: Sequence[Record]) -> list[Any]:
        """Values of the components for finished jobs."""
        ...


def tab(
    studio: Studio, visitor: gr.BrowserState, titles: Mapping[str, str], tabs: gr.Tabs, entered: gr.Tab, filling: Fills
) -> None:
    """Build the tab.

    Args:
        studio: the app.
        visitor: the visitor's number.
        titles: of the other tabs, by name.
        tabs: all tabs, to go to another one.
        entered: this one.
        filling: fills the other tabs.
    """
    page, handlers = layout(studio, titles), Handlers(studio, titles)
    at, query = Desk(page.note), [visitor, page.words, page.tab]
    listed = [page.gallery, page.shown]
    detail = [page.chosen, page.summary, page.pictures, page.sound, page.film, page.files, page.again, page.delete]
    on([entered.select, page.words.input, page.tab.input], handlers.listed, query, listed, at=at, api_name="results")
    on(page.gallery.select, handlers.choose, [visitor, page.shown], detail, at=at, api_visibility="private")
    on(page.delete.click, handlers.delete, [page.chosen, *query], [*listed, *detail], at=at, api_name="delete_result")
    page.delete_all.click(
        lambda: gr.Button(visible=True), None, page.certain, api_visibility="private", show_progress="hidden"
    )
    on(
        page.certain.click, handlers.delete_all, visitor, [*listed, *detail, page.certain], at=at,
        api_name="delete_everything",
    )  # fmt: skip
    on(page.bundle.click, handlers.bundle, query, [page.zip], at=at, api_name="download")

    def again(chosen: str | None, visitor: str) -> list[Any]:
        """Fill the tab of a result with its settings and what it made, and go there."""
        record = studio.record(visitor, chosen)
        if record.tab not in titles:
            raise refusal("the tab of this result is not part of this page")
        return [gr.Tabs(selected=record.tab), *filling.values(visitor, [record])]

    on(page.again.click, again, [page.chosen, visitor], [tabs, *filling.components], at=at, api_visibility="private")
