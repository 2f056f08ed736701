"""Tab: a new word from a few pictures."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..visitors import Studio, job, refusal
from . import personalize_jobs as jobs
from .personalize_jobs import UNITS, examples, nano_settings


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    @job
    def learn(
        self, files: list[str] | None, token: str, category: str, model: str, steps: int, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str, str]:  # fmt: skip
        """Learn a word, and propose a prompt with it."""
        if not files:
            raise refusal("there are no pictures yet; drop two to six of one thing")
        made = self.studio.work(
            visitor, jobs.learn, progress=progress, steps=int(steps), files=list(files), token=token,
            category=category, model=model, count=int(steps), seed=int(seed),
        )  # fmt: skip
        return made["samples"], made["loss"], made["concept"], f"a photo of a {token} on the beach"

    @job
    def draw(
        self, concept: str | None, prompt: str, count: int, seed: float, early: int, late: int, fine: float,
        looks: str | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[str]:  # fmt: skip
        """Draw pictures with a word."""
        if not concept:
            raise refusal("no word is learned yet; learn one or drop a concept file")
        made = self.studio.work(
            visitor, jobs.draw, progress=progress, concept=concept, looks=looks, prompt=prompt, count=int(count),
            seed=int(seed), early=int(early), late=int(late), fine=fine, models=self.studio.models,
        )  # fmt: skip
        return made["pictures"]

    @job
    def measure(
        self, concept: str | None, pictures: list[str] | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str | None, str]:  # fmt: skip
        """Measure a word on pictures that it was not learned from."""
        if not concept:
            raise refusal("no word is learned yet; learn one or drop a concept file")
        if not pictures:
            raise refusal("there are no pictures to measure by yet; drop some that the word was not learned from")
        made = self.studio.work(
            visitor, jobs.measure, progress=progress, concept=concept, pictures=list(pictures),
            models=self.studio.models,
        )  # fmt: skip
        return made["curve"], made["table"]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        "Drop a few pictures of one thing, name it, and ask for it in new places. Takes a minute or two on nano."
    )
    with gr.Row():
        learning = _learning(studio)
    drawing = _drawing()
    with gr.Accordion("How well it does, with fewer and fewer units", open=False):
        measuring = _measuring()
    _wire(Handlers(studio), visitor, learning, drawing, measuring)


@dataclass(frozen=True)
class Learning:
    """Components of learning a word."""

    files: gr.File
    example: gr.Button
    token: gr.Textbox
    category: gr.Textbox
    model: gr.Dropdown
    steps: gr.Slider
    seed: gr.Number
    start: gr.Button
    stop: gr.Button
    samples: gr.Image
    loss: gr.Image
    concept: gr.File


@dataclass(frozen=True)
class Drawing:
    """Components of drawing with it."""

    prompt: gr.Textbox
    count: gr.Slider
    seed: gr.Number
    early: gr.Slider
    late: gr.Slider
    fine: gr.Slider
    looks: gr.File
    start: gr.Button
    gallery: gr.Gallery


@dataclass(frozen=True)
class Measuring:
    """Components of measuring it."""

    pictures: gr.File
    example: gr.Button
    start: gr.Button
    scores: gr.Markdown
    curve: gr.Image


def _learning(studio: Studio) -> Learning:
    nano_steps = nano_settings().train.steps
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
            start, stop = gr.Button("Learn the word", variant="primary"), gr.Button("Cancel")
    with gr.Column():
        samples = gr.Image(
            label="First samples", interactive=False, height=240, elem_id="samples",
            alt_text="Samples of the new word",
        )  # fmt: skip
        loss = gr.Image(label="Loss", interactive=False, height=240, alt_text="Loss over steps")
        concept = gr.File(label="The learned word; or drop one", file_types=[".safetensors"], height=150)
    return Learning(files, example, token, category, model, steps, seed, start, stop, samples, loss, concept)


def _drawing() -> Drawing:
    with gr.Row(equal_height=True):
        prompt = gr.Textbox("a photo of a <my-thing> on the beach", label="Prompt", scale=3)
        count = gr.Slider(1, 8, 4, step=1, label="Pictures")
        seed = gr.Number(0, label="Seed of drawing", precision=0)
    with gr.Accordion("Less of the thing, more of the prompt; another thing's looks", open=False):
        with gr.Row():
            early = gr.Slider(0, UNITS, UNITS, step=1, label="Units early", info="few: the layout is the prompt's")
            late = gr.Slider(0, UNITS, UNITS, step=1, label="Units late", info="many: the details are the thing's")
            fine = gr.Slider(0, 1, 1, step=0.05, label="Share in fine layers", info="little: looks by the prompt")
        looks = gr.File(label="Word whose looks to take", file_types=[".safetensors"], height=150)
    start = gr.Button("Draw", variant="primary")
    gallery = gr.Gallery(label="Pictures", columns=4, height=320, elem_id="pictures")
    return Drawing(prompt, count, seed, early, late, fine, looks, start, gallery)


def _measuring() -> Measuring:
    with gr.Row():
        with gr.Column():
            pictures = gr.File(
                label="Pictures of it that it was not learned from", file_count="multiple", file_types=["image"],
                height=160,
            )  # fmt: skip
            example = gr.Button("Four other pictures of the teapot", size="sm")
            start = gr.Button("Measure: takes a minute")
            scores = gr.Markdown(elem_id="scores")
        curve = gr.Image(
            label="Truncation curve", interactive=False, height=320, elem_id="truncation",
            alt_text="CLIP-I over CLIP-T for fewer and fewer units",
        )  # fmt: skip
    return Measuring(pictures, example, start, scores, curve)


def _wire(
    handlers: Handlers, visitor: gr.BrowserState, learning: Learning, drawing: Drawing, measuring: Measuring
) -> None:
    studio = handlers.studio
    learning.example.click(lambda: examples(studio.root), None, learning.files, api_name="example_pictures")
    measuring.example.click(
        lambda: examples(studio.root, others=True), None, measuring.pictures, api_name="other_pictures"
    )
    measuring.start.click(
        handlers.measure, [learning.concept, measuring.pictures, visitor], [measuring.curve, measuring.scores],
        api_name="measure", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    learning.start.click(
        handlers.learn,
        [learning.files, learning.token, learning.category, learning.model, learning.steps, learning.seed, visitor],
        [learning.samples, learning.loss, learning.concept, drawing.prompt],
        api_name="personalize", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    drawing.start.click(
        handlers.draw,
        [learning.concept, drawing.prompt, drawing.count, drawing.seed, drawing.early, drawing.late, drawing.fine,
         drawing.looks, visitor], drawing.gallery, api_name="draw", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    learning.stop.click(studio.cancel, visitor, None, api_name="cancel", queue=False)
