"""Tab: a new word from a few pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mappers.yaml_settings import load_settings
from pipelines.personalization.settings import PersonalizeConfig

from .visitors import Studio, job, refusal

if TYPE_CHECKING:
    from pipelines.personalization.concepts import Concept

OBJECT = "teapot"
"""Of the example, which the embedded model has never seen."""


TURN = 400
"""Timestep from which on the late units are kept: by then the layout is there."""
UNITS = 128
"""Of a mapper, by default; an envelope of more keeps all there are."""
PROMPTS, SHARES = ("a photo of a {} on the beach", "a watercolor of a {}"), (0.0, 0.0625, 0.25, 1.0)
"""That a word is measured by, four pictures each, and the shares of its units that are kept."""


def learn(
    files: list[str], token: str, category: str, model: str, count: int | None, seed: int, folder: Path
) -> dict[str, Any]:
    """Learn a word; runs in the worker."""
    import pipelines

    pipelines.personalize(
        files, token, category=category or None, model=model, steps=count, seed=seed, output_dir=folder,
        config=load_settings(PersonalizeConfig, "nano", task="personalize") if model == "nano" else None,
    )  # fmt: skip
    names = {"samples": "samples.png", "loss": "loss.png", "concept": "concept.safetensors"}
    return {key: str(folder / name) for key, name in names.items()}


def draw(
    concept: str, looks: str | None, prompt: str, count: int, seed: int, early: int, late: int, fine: float,
    models: tuple[str, ...], folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Pictures with a learned word; runs in the worker.

    Args:
        concept: file of the word.
        looks: file of a word that the finer layers take in its place.
        prompt: what to draw.
        count: pictures.
        seed: of the noise.
        early: units of the mapper kept at the first, noisiest step.
        late: units kept once the layout is there.
        fine: share of the units that finer layers keep.
        models: the app's.
        folder: where pictures go.
    """
    import torch

    from mappers.neti import Envelope

    with loaded(concept, looks, models=models) as (pipeline, token):
        if token not in prompt:
            raise ValueError(f"the prompt {prompt!r} does not have the word {token} in it; add it")
        layers = {layer: fine for layer in pipeline.fine_layers()} if fine < 1 else {}
        whole = min(early, late) >= UNITS and not layers
        pictures = pipeline(
            prompt, num_inference_steps=25, guidance_scale=5.0, num_images_per_prompt=count,
            truncation=None if whole else Envelope(times={999: early, TURN: late}, layers=layers),
            generator=torch.Generator().manual_seed(seed),
        ).images  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return {"pictures": [str(path) for path in paths]}


def measure(concept: str, pictures: list[str], models: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """How a word does beside its category, and along its truncation; runs in the worker.

    Args:
        concept: file of the word.
        pictures: of the thing, which the word was not learned from.
        models: the app's.
        folder: where the report goes.
    """
    import pipelines
    from pipelines.personalization.settings import EvaluateConfig

    config = EvaluateConfig(prompts=PROMPTS, truncations=SHARES)
    result = pipelines.evaluate(_known(concept, models), pictures, output_dir=folder, config=config)
    lines = ["| | like the thing (CLIP-I) | obeys the prompt (CLIP-T) |", "|---|---|---|"]
    for name, scores in result["scores"].items():
        lines.append(f"| {name} | {scores['clip_i']['value']:.3f} | {scores['clip_t']['value']:.3f} |")
    curve = folder / "truncation.png"
    return {"curve": str(curve) if curve.is_file() else None, "table": "\n".join(lines)}


@contextmanager
def loaded(concept: str | None, looks: str | None = None, *, models: tuple[str, ...]) -> Iterator[tuple[Any, str]]:
    """A pipeline with a word in it for the time being, and the word ("" for none); in the worker.

    Raises:
        ValueError: the file is no word, or one of another model.
    """
    from pipelines.personalization.concepts import load_concept

    if concept is None:
        yield _pipeline(models[0]), ""
        return
    learned = _known(concept, models)
    pipeline = _pipeline(learned.model)
    if looks is not None:
        learned = learned.mix(load_concept(Path(looks)), layers=pipeline.fine_layers(), token=learned.token)
    token = pipeline.load_concept(learned)
    try:
        yield pipeline, token
    finally:
        pipeline.unload_concept(token)


def _known(concept: str, models: tuple[str, ...]) -> Concept:
    """A word of a model that the app has: which models are loaded is not for an uploaded file to say."""
    from pipelines.personalization.concepts import load_concept

    learned = load_concept(Path(concept))
    if learned.model not in models:
        raise ValueError(f"the word {learned.token} was learned on {learned.model!r}; this app has {', '.join(models)}")
    return learned


@lru_cache(maxsize=2)
def _pipeline(model: str) -> Any:
    import pipelines

    return pipelines.NeTIPipeline.from_model(model)


def examples(root: Path, *, others: bool = False) -> list[str]:
    """Four pictures of an object, drawn once, or four ``others`` of it."""
    from pipelines.nano import world

    folder = root / "examples" / (f"other {OBJECT}" if others else OBJECT)
    paths = [folder / f"{i}.png" for i in range(4)]
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        scenes = world.reference_scenes(OBJECT, seed=int(others))
        for path, picture in zip(paths, world.render_all(scenes), strict=True):
            picture.save(path)
    return [str(path) for path in paths]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    nano_steps = load_settings(PersonalizeConfig, "nano", task="personalize").train.steps
    gr.Markdown(
        "Drop a few pictures of one thing, name it, and ask for it in new places. Takes a minute or two on nano."
    )
    with gr.Row():
        with gr.Column():
            files = gr.File(label="Pictures of one thing", file_count="multiple", file_types=["image"], height=160)
            example = gr.Button("Four pictures of a teapot", size="sm")
            token = gr.Textbox("<my-thing>", label="New word")
            category = gr.Textbox("object", label="What kind of thing it is")
            with gr.Accordion("More", open=False):
                model = gr.Dropdown(list(studio.models), value=studio.models[0], label="Model")
                steps = gr.Slider(
                    10, 1000, nano_steps, step=10, label="Steps",
                    info=f"{nano_steps} are right for nano; other models want 500 or more",
                )  # fmt: skip
                seed = gr.Number(0, label="Seed of learning", precision=0)
            with gr.Row():
                start = gr.Button("Learn the word", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            samples = gr.Image(
                label="First samples",
                interactive=False,
                height=240,
                elem_id="samples",
                alt_text="Samples of the new word",
            )
            loss = gr.Image(label="Loss", interactive=False, height=240, alt_text="Loss over steps")
            concept = gr.File(label="The learned word; or drop one", file_types=[".safetensors"], height=150)
    with gr.Row(equal_height=True):
        prompt = gr.Textbox("a photo of a <my-thing> on the beach", label="Prompt", scale=3)
        count = gr.Slider(1, 8, 4, step=1, label="Pictures")
        noise = gr.Number(0, label="Seed of drawing", precision=0)
    with gr.Accordion("Less of the thing, more of the prompt; another thing's looks", open=False):
        with gr.Row():
            early = gr.Slider(0, UNITS, UNITS, step=1, label="Units early", info="few: the layout is the prompt's")
            late = gr.Slider(0, UNITS, UNITS, step=1, label="Units late", info="many: the details are the thing's")
            fine = gr.Slider(0, 1, 1, step=0.05, label="Share in fine layers", info="little: looks by the prompt")
        looks = gr.File(label="Word whose looks to take", file_types=[".safetensors"], height=150)
    paint = gr.Button("Draw", variant="primary")
    gallery = gr.Gallery(label="Pictures", columns=4, height=320, elem_id="pictures")
    with gr.Accordion("How well it does, with fewer and fewer units", open=False):
        with gr.Row():
            with gr.Column():
                held_out = gr.File(
                    label="Pictures of it that it was not learned from", file_count="multiple", file_types=["image"],
                    height=160,
                )  # fmt: skip
                other = gr.Button("Four other pictures of the teapot", size="sm")
                judge = gr.Button("Measure: takes a minute")
                scores = gr.Markdown(elem_id="scores")
            curve = gr.Image(
                label="Truncation curve", interactive=False, height=320, elem_id="truncation",
                alt_text="CLIP-I over CLIP-T for fewer and fewer units",
            )  # fmt: skip

    @job
    def on_learn(
        files: list[str] | None, token: str, category: str, model: str, steps: int, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str, str]:  # fmt: skip
        if not files:
            raise refusal("there are no pictures yet; drop two to six of one thing")
        made = studio.work(
            visitor, learn, progress=progress, steps=int(steps), files=list(files), token=token, category=category,
            model=model, count=int(steps), seed=int(seed),
        )  # fmt: skip
        return made["samples"], made["loss"], made["concept"], f"a photo of a {token} on the beach"

    @job
    def on_draw(
        concept: str | None, prompt: str, count: int, seed: float, early: int, late: int, fine: float,
        looks: str | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[str]:  # fmt: skip
        if not concept:
            raise refusal("no word is learned yet; learn one or drop a concept file")
        made = studio.work(
            visitor, draw, progress=progress, concept=concept, looks=looks, prompt=prompt, count=int(count),
            seed=int(seed), early=int(early), late=int(late), fine=fine, models=studio.models,
        )  # fmt: skip
        return made["pictures"]

    @job
    def on_measure(
        concept: str | None, pictures: list[str] | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str | None, str]:  # fmt: skip
        if not concept:
            raise refusal("no word is learned yet; learn one or drop a concept file")
        if not pictures:
            raise refusal("there are no pictures to measure by yet; drop some that the word was not learned from")
        made = studio.work(
            visitor, measure, progress=progress, concept=concept, pictures=list(pictures), models=studio.models
        )
        return made["curve"], made["table"]

    example.click(lambda: examples(studio.root), None, files, api_name="example_pictures")
    other.click(lambda: examples(studio.root, others=True), None, held_out, api_name="other_pictures")
    judge.click(
        on_measure, [concept, held_out, visitor], [curve, scores],
        api_name="measure", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    start.click(
        on_learn, [files, token, category, model, steps, seed, visitor], [samples, loss, concept, prompt],
        api_name="personalize", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    paint.click(
        on_draw, [concept, prompt, count, noise, early, late, fine, looks, visitor], gallery,
        api_name="draw", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name="cancel", queue=False)
