"""Tab: what a family of prompts, or a learned word, really covers: its pictures in clusters of likeness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import gradio as gr

from . import treemap
from .personalize import loaded
from .treemap import Tree
from .visitors import Studio, job, refusal

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
    from pipelines.personalization.evaluation import Judges

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


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        "Draws pictures for a family of prompts and lays them out by likeness, as nano-clip sees it: groups of like"
        " pictures are rectangles, the larger the more there are. Click one to enter it."
    )
    place = gr.State(None)
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
        start = gr.Button("Draw the map", variant="primary")
        stop = gr.Button("Cancel")
        out = gr.Button("Zoom out")
        whole = gr.Button("Whole map")
    where = gr.Markdown()
    sheet = gr.Image(
        label="Map", show_label=False, buttons=[], interactive=False, height=SHEET[1], elem_id="map",
        alt_text="Treemap of pictures in groups of likeness; the list below it names the groups",
    )  # fmt: skip
    groups = gr.Radio([], label="Groups, the largest first: choose one to enter it")

    @job
    def on_start(
        prompts: str, count: int, steps: int, seed: float, concept: str | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, str, Any, Place]:  # fmt: skip
        lines = prompts_of(prompts, int(count))
        made = studio.work(
            visitor, gather, progress=progress, steps=len(lines), prompts=lines, count=int(count),
            denoising_steps=int(steps), seed=int(seed), concept=concept, models=studio.models,
        )  # fmt: skip
        tree, _ = _read(Path(made["folder"]))
        return view((made["folder"], (tree.root,)))

    def on_group(node: int | None, place: Place | None) -> tuple[Any, str, Any, Place]:
        tree = _tree_of(place)
        if node is None or node not in tree.clusters(place[1][-1]):
            raise refusal("that group is not in the present map; choose one of the list")
        return view((place[0], (*place[1], node)))

    def on_click(place: Place | None, event: gr.SelectData) -> tuple[Any, str, Any, Place]:
        tree = _tree_of(place)
        hit = [node for node, box in treemap.layout(tree, place[1][-1], *SHEET) if box.holds(*event.index)]
        return view((place[0], (*place[1], *(node for node in hit if node != place[1][-1]))))

    def on_out(place: Place | None) -> tuple[Any, str, Any, Place]:
        _tree_of(place)
        return view((place[0], place[1][:-1] or place[1]))

    def on_whole(place: Place | None) -> tuple[Any, str, Any, Place]:
        return view((place[0], (_tree_of(place).root,)))

    shown: Sequence[Any] = (sheet, where, groups, place)
    start.click(
        on_start, [prompts, count, steps, seed, concept, visitor], shown,
        api_name="explore", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    groups.input(on_group, [groups, place], shown, api_name="zoom")
    sheet.select(on_click, place, shown, api_name=False)
    out.click(on_out, place, shown, api_name="zoom_out")
    whole.click(on_whole, place, shown, api_name="whole_map")
    stop.click(studio.cancel, visitor, None, api_name=False, queue=False)


def _tree_of(place: Place | None) -> Tree:
    if place is None:
        raise refusal("there is no map yet; draw one")
    return _read(Path(place[0]))[0]
