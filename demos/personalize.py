"""Tab: a new word from a few pictures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from mappers.settings import load_settings
from pipelines.settings import PersonalizeConfig

from .studio import Studio

OBJECT = "teapot"
"""Of the example, which the embedded model has never seen."""


def learn(files: list[str], token: str, category: str, model: str, seed: int, folder: Path) -> dict[str, Any]:
    """Learn a word; runs in the worker."""
    import pipelines

    pipelines.personalize(
        files, token, category=category or None, model=model, seed=seed, output_dir=folder,
        config=load_settings(PersonalizeConfig, "nano", task="personalize") if model == "nano" else None,
    )  # fmt: skip
    names = {"samples": "samples.png", "loss": "loss.png", "concept": "concept.safetensors"}
    return {key: str(folder / name) for key, name in names.items()}


def draw(concept: str, prompt: str, count: int, seed: int, truncation: int, folder: Path) -> dict[str, Any]:
    """Pictures with a learned word; runs in the worker."""
    import torch

    from pipelines.concepts import load_concept

    learned = load_concept(Path(concept))
    pipeline = _pipeline(learned.model or "nano")
    token = pipeline.load_concept(learned)
    try:
        if token not in prompt:
            raise ValueError(f"the prompt {prompt!r} does not have the word {token} in it; add it")
        pictures = pipeline(
            prompt, num_inference_steps=25, guidance_scale=5.0, num_images_per_prompt=count,
            truncation=min(truncation, learned.mapper.hidden), generator=torch.Generator().manual_seed(seed),
        ).images  # fmt: skip
    finally:
        pipeline.unload_concept(token)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return {"pictures": [str(path) for path in paths]}


@lru_cache(maxsize=2)
def _pipeline(model: str) -> Any:
    import pipelines

    return pipelines.NeTIPipeline.from_model(model)


def examples(root: Path) -> list[str]:
    """Four pictures of an object, drawn once."""
    from pipelines.nano import world

    folder = root / "examples" / OBJECT
    paths = [folder / f"{i}.png" for i in range(4)]
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        for path, picture in zip(paths, world.render_all(world.reference_scenes(OBJECT)), strict=True):
            picture.save(path)
    return [str(path) for path in paths]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    steps = load_settings(PersonalizeConfig, "nano", task="personalize").train.steps
    gr.Markdown(
        "Drop a few pictures of one thing, name it, and ask for it in new places. Takes a minute or two on nano."
    )
    with gr.Row():
        with gr.Column():
            files = gr.File(label="Pictures of one thing", file_count="multiple", file_types=["image"])
            example = gr.Button("Four pictures of a teapot", size="sm")
            token = gr.Textbox("<my-thing>", label="New word")
            category = gr.Textbox("object", label="What kind of thing it is")
            with gr.Accordion("More", open=False):
                model = gr.Textbox("nano", label="Model: nano, a folder or a hub id")
                seed = gr.Number(0, label="Seed", precision=0)
            with gr.Row():
                start = gr.Button("Learn the word", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            samples = gr.Image(label="First samples", interactive=False)
            loss = gr.Image(label="Loss", interactive=False)
            concept = gr.File(label="The learned word (concept.safetensors)")
    with gr.Row():
        prompt = gr.Textbox("a photo of a <my-thing> on the beach", label="Prompt", scale=3)
        count = gr.Slider(1, 8, 4, step=1, label="Pictures")
        units = gr.Slider(0, 128, 128, step=1, label="Units of the mapper kept: fewer obeys the prompt more")
        paint = gr.Button("Draw", variant="primary")
    gallery = gr.Gallery(label="Pictures", columns=4)

    def on_learn(
        files: list[str] | None, token: str, category: str, model: str, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str, str]:  # fmt: skip
        if not files:
            raise gr.Error("there are no pictures yet; drop two to six of one thing", print_exception=False)
        made = studio.work(
            visitor, learn, progress=progress, steps=steps if model == "nano" else None, files=list(files),
            token=token, category=category, model=model, seed=int(seed),
        )  # fmt: skip
        return made["samples"], made["loss"], made["concept"], f"a photo of a {token} on the beach"

    def on_draw(
        concept: str | None, prompt: str, count: int, seed: float, units: int, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[str]:  # fmt: skip
        if not concept:
            raise gr.Error("no word is learned yet; learn one or drop a concept file", print_exception=False)
        made = studio.work(
            visitor, draw, progress=progress, concept=concept, prompt=prompt, count=int(count), seed=int(seed),
            truncation=int(units),
        )  # fmt: skip
        return made["pictures"]

    example.click(lambda: examples(studio.root), None, files, api_name="example_pictures")
    start.click(
        on_learn, [files, token, category, model, seed, visitor], [samples, loss, concept, prompt],
        api_name="personalize", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    paint.click(
        on_draw, [concept, prompt, count, seed, units, visitor], gallery,
        api_name="draw", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name="cancel", queue=False)
