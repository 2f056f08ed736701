"""Tab: what a family of prompts, or a learned word, really covers: its pictures in clusters of similar ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import gradio as gr

from ..visitors import Studio, job, refusal
from . import treemap
from .personalize_jobs import loaded
from .treemap import Tree

PROMPTS = "\n".join(f"a photo of a {thing} {place}" for thing, place in product(
    ("bell", "dog", "train"), ("on the beach", "in the snow")
))  # fmt: skip
MOST = 64
"""Pictures of a map: on nano about a third of a second of a core each."""
SHEET = (960, 640)
"""Pixels of the map."""


def gather(
    prompts: list[str], count: int, denoising_steps: int, seed: int, concept: str | None, models: tuple[str, ...],
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Draw pictures, embed them and join the most alike, step by step; runs in the worker."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    pictures, captions = [], []
    with loaded(concept, models=models) as (pipeline, _):
        for i, prompt in enumerate(prompts):
            pictures += pipeline(
                prompt, num_inference_steps=denoising_steps, guidance_scale=5.0, num_images_per_prompt=count,
                generator=torch.Generator().manual_seed(seed),
            ).images  # fmt: skip
            captions += [prompt] * count
            with (folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": i + 1}) + "\n")
    names = [f"{i:03d}.png" for i in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        picture.save(folder / name)
    merges = join(_judge().embed_images["clip_i"](pictures))
    (folder / "tree.json").write_text(json.dumps({"pictures": names, "captions": captions, "merges": merges}))
    return {"folder": str(folder)}


@lru_cache(maxsize=1)
def _judge() -> Any:
    from pipelines import Judges

    return Judges("nano-clip", None, "cpu")


def join(embeddings: Any) -> list[tuple[int, int, float]]:
    """Ward's clustering of unit embeddings: nodes joined, and at what height."""
    from scipy.cluster.hierarchy import linkage

    return [(int(a), int(b), float(height)) for a, b, height, _ in linkage(embeddings, method="ward")]


@lru_cache(maxsize=16)
def _read(folder: Path) -> tuple[Tree, list[Any]]:
    from PIL import Image

    saved = json.loads((folder / "tree.json").read_text(encoding="utf-8"))
    pictures = []
    for name in saved["pictures"]:
        with Image.open(folder / name) as opened:
            pictures.append(opened.convert("RGB"))
    return Tree(saved["captions"], [(a, b, height) for a, b, height in saved["merges"]]), pictures


Place = tuple[str, tuple[int, ...]]
"""A map's folder and the nodes entered, the last one shown; on the server only: no path comes from outside."""


def view(place: Place) -> tuple[Any, str, Any, Place]:
    """The map at a place, where that is, what can be entered from there, and the place itself."""
    tree, pictures = _read(Path(place[0]))
    node = place[1][-1]
    parts = tree.clusters(node) if tree.children(node) else []
    choices = [(f"{i + 1}. {tree.name(part)}", part) for i, part in enumerate(parts)]
    return treemap.draw(tree, node, pictures, *SHEET), f"**{tree.name(node)}**", gr.Radio(choices, value=None), place


def prompts_of(text: str, count: int) -> list[str]:
    """The lines of a text.

    Raises:
        gr.Error: none, or too many pictures are asked for.
    """
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not 2 <= len(prompts) * count <= MOST:
        raise refusal(
            f"{len(prompts)} prompts with {count} pictures each are {len(prompts) * count} pictures; 2 to {MOST} are"
            " possible, so change one of the two numbers")  # fmt: skip
    return prompts


class Handlers:
    """What the tab's events do; each returns what `view` returns."""

    def __init__(self, studio: Studio):
        self.studio = studio

    @job
    def start(
        self, prompts: str, count: int, steps: int, seed: float, concept: str | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, str, Any, Place]:  # fmt: skip
        """Draw a new map."""
        lines = prompts_of(prompts, int(count))
        made = self.studio.work(
            visitor, gather, progress=progress, steps=len(lines), prompts=lines, count=int(count),
            denoising_steps=int(steps), seed=int(seed), concept=concept, models=self.studio.models,
        )  # fmt: skip
        tree, _ = _read(Path(made["folder"]))
        return view((made["folder"], (tree.root,)))

    def group(self, node: int | None, place: Place | None) -> tuple[Any, str, Any, Place]:
        """Enter a group of the list."""
        folder, nodes = known(place)
        if node is None or node not in _read(Path(folder))[0].clusters(nodes[-1]):
            raise refusal("that group is not in the present map; choose one of the list")
        return view((folder, (*nodes, node)))

    def click(self, place: Place | None, event: gr.SelectData) -> tuple[Any, str, Any, Place]:
        """Enter the rectangle at a point of the map."""
        folder, nodes = known(place)
        boxes = treemap.layout(_read(Path(folder))[0], nodes[-1], *SHEET)
        hit = [node for node, box in boxes if box.holds(*event.index)]
        return view((folder, (*nodes, *(node for node in hit if node != nodes[-1]))))

    def out(self, place: Place | None) -> tuple[Any, str, Any, Place]:
        """Leave the group that was entered last."""
        folder, nodes = known(place)
        return view((folder, nodes[:-1] or nodes))

    def whole(self, place: Place | None) -> tuple[Any, str, Any, Place]:
        """Leave all groups."""
        folder, _ = known(place)
        return view((folder, (_read(Path(folder))[0].root,)))


def known(place: Place | None) -> Place:
    """A place that is one.

    Raises:
        gr.Error: the page has no map yet.
    """
    if place is None:
        raise refusal("there is no map yet; draw one")
    return place


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        "Draws pictures for a family of prompts and lays them out by similarity, as nano-clip sees it: groups of"
        " similar pictures are rectangles, the larger the more there are. Click one to enter it."
    )
    page = _layout()
    handlers, place = Handlers(studio), gr.State(None)
    shown = (page.sheet, page.where, page.groups, place)
    page.start.click(
        handlers.start, [page.prompts, page.count, page.steps, page.seed, page.concept, visitor], shown,
        api_name="explore", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    page.groups.input(handlers.group, [page.groups, place], shown, api_name="zoom")
    page.sheet.select(handlers.click, place, shown, api_name=False)
    page.out.click(handlers.out, place, shown, api_name="zoom_out")
    page.whole.click(handlers.whole, place, shown, api_name="whole_map")
    page.stop.click(studio.cancel, visitor, None, api_name=False, queue=False)


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    prompts: gr.Textbox
    count: gr.Slider
    steps: gr.Slider
    seed: gr.Number
    concept: gr.File
    start: gr.Button
    stop: gr.Button
    out: gr.Button
    whole: gr.Button
    where: gr.Markdown
    sheet: gr.Image
    groups: gr.Radio


def _layout() -> Page:
    with gr.Row():
        with gr.Column(scale=2):
            prompts = gr.Textbox(PROMPTS, lines=6, max_lines=12, label="Prompts, one a line")
        with gr.Column():
            count = gr.Slider(1, 16, 4, step=1, label="Pictures of each")
            steps = gr.Slider(4, 30, 15, step=1, label="Steps")
            seed = gr.Number(0, label="Seed", precision=0)
    with gr.Accordion("A learned word in the prompts", open=False):
        concept = gr.File(label="The word's file", file_types=[".safetensors"], height=150)
    with gr.Row():
        start, stop = gr.Button("Draw the map", variant="primary"), gr.Button("Cancel")
        out, whole = gr.Button("Zoom out"), gr.Button("Whole map")
    where = gr.Markdown()
    sheet = gr.Image(
        label="Map", show_label=False, buttons=[], interactive=False, height=SHEET[1], elem_id="map",
        alt_text="Treemap of pictures in groups of similar ones; the list below it names the groups",
    )  # fmt: skip
    groups = gr.Radio([], label="Groups, the largest first: choose one to enter it")
    return Page(prompts, count, steps, seed, concept, start, stop, out, whole, where, sheet, groups)
