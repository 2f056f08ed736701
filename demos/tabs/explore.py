"""Tab: what a family of prompts, or a learned word, really covers: its pictures in clusters of similar ones."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from .. import words
from ..pages import Desk, Form, cancelling, on
from ..records import Record, Task
from ..visitors import State, Studio, check_text, refusal
from . import explore_jobs as jobs
from . import treemap
from .explore_jobs import MOST, SHEET, read
from .explore_layout import Page, layout

Place = tuple[str, tuple[int, ...]]
"""A map's folder and the nodes entered, the last one shown; on the server only: no path comes from outside."""


def view(place: Place) -> tuple[Any, ...]:
    """The map at a place, where that is, what can be entered from there, the place itself, and the ways back."""
    tree, pictures = read(Path(place[0]))
    node = place[1][-1]
    parts = tree.clusters(node) if tree.children(node) else []
    choices = [(f"{i + 1}. {tree.name(part)}", part) for i, part in enumerate(parts)]
    sheet, inside = treemap.draw(tree, node, pictures, *SHEET), gr.update(interactive=len(place[1]) > 1)
    return sheet, f"**{plain(tree.name(node))}**", gr.Radio(choices, value=None), place, inside, inside


def plain(text: str) -> str:
    """A text that Markdown shows as it is: prompts may have any character in them."""
    return "".join(f"&#{ord(one)};" if one in "<>&*_`[]()#!|~\\$" else one for one in text)


def prompts_of(text: str, count: int) -> list[str]:
    """The lines of a text.

    Raises:
        gr.Error: none, or too many pictures are asked for, or one is too long.
    """
    prompts = [check_text(line.strip(), "prompt") for line in text.splitlines() if line.strip()]
    if not 2 <= len(prompts) * count <= MOST:
        raise refusal(
            f"{len(prompts)} prompts with {count} pictures each are {len(prompts) * count} pictures; 2 to {MOST} are"
            " possible, so change one of the two numbers"
        )
    return prompts


class Handlers:
    """What the tab's events do; each returns what `view` returns."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def start(
        self, prompts: str, count: int, steps: int, seed: float, word: str | None, visitor: str
    ) -> Generator[State, None, tuple[Any, ...]]:
        """Draw a new map."""
        lines = prompts_of(prompts, int(count))
        concept = words.word(self.studio, visitor, word).made["concept"] if word else None
        settings = {"prompts": prompts, "count": int(count), "steps": int(steps), "seed": int(seed), "word": word}
        title = lines[0] + (f" and {len(lines) - 1} other prompts" if len(lines) > 1 else "")
        record = yield from self.studio.work(
            visitor, jobs.gather, Task("explore", title, settings), steps=len(lines), prompts=lines, count=int(count),
            denoising_steps=int(steps), seed=int(seed), concept=concept, models=self.studio.models,
        )  # fmt: skip
        return shown(record)

    def group(self, node: int | None, place: Place | None) -> tuple[Any, ...]:
        """Enter a group of the list."""
        folder, nodes = known(place)
        if node is None or node not in read(Path(folder))[0].clusters(nodes[-1]):
            raise refusal("that group is not in the present map; choose one of the list")
        return view((folder, (*nodes, node)))

    def click(self, place: Place | None, event: gr.SelectData) -> tuple[Any, ...]:
        """Enter the rectangle at a point of the map."""
        folder, nodes = known(place)
        boxes = treemap.layout(read(Path(folder))[0], nodes[-1], *SHEET)
        hit = [node for node, box in boxes if box.holds(*event.index)]
        return view((folder, (*nodes, *(node for node in hit if node != nodes[-1]))))

    def out(self, place: Place | None) -> tuple[Any, ...]:
        """Leave the group that was entered last."""
        folder, nodes = known(place)
        return view((folder, nodes[:-1] or nodes))

    def whole(self, place: Place | None) -> tuple[Any, ...]:
        """Leave all groups."""
        folder, _ = known(place)
        return view((folder, (read(Path(folder))[0].root,)))


def known(place: Place | None) -> Place:
    """A place that is one.

    Raises:
        gr.Error: the page has no map yet, or it was deleted.
    """
    if place is None:
        raise refusal("there is no map yet; draw one")
    if not Path(place[0]).is_dir():
        raise refusal("this map was deleted; draw a new one")
    return place


def shown(record: Record) -> tuple[Any, ...]:
    """The whole map of a record."""
    tree, _ = read(record.folder)
    return view((str(record.folder), (tree.root,)))


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    page = layout()
    handlers, place = Handlers(studio), gr.State(None)
    outputs = [page.sheet, page.where, page.groups, place, page.out, page.whole]
    given = {"prompts": page.prompts, "count": page.count, "steps": page.steps, "seed": page.seed, "word": page.word}
    on(page.at.pressed, handlers.start, [*given.values(), visitor], outputs, at=page.at, api_name="explore")
    _wire_zoom(handlers, page, place, outputs)
    cancelling(studio, visitor, page.at, "explore")

    def show(record: Record) -> dict[Any, Any]:
        settings = {one: record.settings[name] or "" for name, one in given.items() if name == "word"}
        settings |= {one: record.settings[name] for name, one in given.items() if name != "word"}
        return settings | dict(zip(outputs, shown(record), strict=True))

    return Form([*given.values(), *outputs], show, [page.word], prompts=page.prompts, send=page.send)


def _wire_zoom(handlers: Handlers, page: Page, place: gr.State, outputs: list[Any]) -> None:
    at = Desk(page.at.note)
    on(page.groups.input, handlers.group, [page.groups, place], outputs, at=at, api_name="zoom")
    on(page.sheet.select, handlers.click, place, outputs, at=at, api_visibility="private")
    on(page.out.click, handlers.out, place, outputs, at=at, api_name="zoom_out")
    on(page.whole.click, handlers.whole, place, outputs, at=at, api_name="whole_map")
