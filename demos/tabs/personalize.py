"""Tab: a new word from a few pictures."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr

from .. import words
from ..pages import Form, Reply, cancelling, on
from ..records import Record, Task
from ..visitors import State, Studio, check_text, refusal
from . import personalize_jobs as jobs
from .personalize_jobs import examples
from .personalize_layout import Drawing, Learning, Measuring, layout

TAB = "personalize"


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def learn(
        self, files: list[str] | None, token: str, category: str, model: str, steps: int, seed: float, visitor: str
    ) -> Generator[State, None, tuple[Any, ...]]:
        """Learn a word, and propose a prompt with it."""
        if not files:
            raise refusal("there are no pictures yet; drop two to six of one thing")
        for file in files:
            self.studio.check_picture(file, "")
        settings = {"token": token, "category": category, "model": model, "steps": int(steps), "seed": int(seed)}
        record = yield from self.studio.work(
            visitor, jobs.learn, Task(TAB, f"Word {token}", settings, {"files": files}), steps=int(steps),
            files=list(files), token=token, category=category, model=model, count=int(steps), seed=int(seed),
        )  # fmt: skip
        return *learned(record), words.choices(self.studio, visitor, record.id), words.prompt_with(token)

    def draw(
        self, word: str | None, prompt: str, count: int, seed: float, early: int, late: int, fine: float,
        looks: str | None, visitor: str,
    ) -> Generator[State, None, list[str]]:  # fmt: skip
        """Draw pictures with a word."""
        prompt = check_text(prompt, "prompt")
        concept = words.word(self.studio, visitor, word)
        if (token := concept.settings["token"]) not in prompt:
            raise refusal(f"the prompt {prompt!r} does not have the word {token} in it; add it")
        other = words.word(self.studio, visitor, looks) if looks else None
        settings = {
            "word": word, "prompt": prompt, "count": int(count), "seed": int(seed),
            "early": int(early), "late": int(late), "fine": fine, "looks": looks,
        }  # fmt: skip
        record = yield from self.studio.work(
            visitor, jobs.draw, Task(TAB, prompt, settings), concept=concept.made["concept"],
            looks=other and other.made["concept"], prompt=prompt, count=int(count), seed=int(seed), early=int(early),
            late=int(late), fine=fine, models=self.studio.models,
        )  # fmt: skip
        return record.made["pictures"]

    def measure(
        self, word: str | None, pictures: list[str] | None, visitor: str
    ) -> Generator[State, None, tuple[str | None, str]]:
        """Measure a word on pictures that it was not learned from."""
        concept = words.word(self.studio, visitor, word)
        if not pictures:
            raise refusal("there are no pictures to measure by yet; drop some that the word was not learned from")
        for file in pictures:
            self.studio.check_picture(file, "")
        task = Task(TAB, f"Figures of {concept.settings['token']}", {"word": word}, {"pictures": pictures})
        record = yield from self.studio.work(
            visitor, jobs.measure, task, concept=concept.made["concept"], pictures=list(pictures),
            models=self.studio.models,
        )  # fmt: skip
        return record.made["curve"], record.made["table"]

    def add(self, file: str | None, visitor: str) -> Reply:
        """Keep a word's file from elsewhere."""
        record = words.add(self.studio, visitor, file)
        token = record.settings["token"]
        values = words.choices(self.studio, visitor, record.id), words.prompt_with(token)
        return Reply(values, f"The word {token} is in the list now.")

    def chosen(self, word: str | None, prompt: str, visitor: str) -> Any:
        """A first prompt for another word, unless the prompt has that word already."""
        token = words.word(self.studio, visitor, word).settings["token"]
        return gr.skip() if token in prompt else words.prompt_with(token)


def learned(record: Record) -> tuple[str, str, str]:
    """Values of the samples, the loss and the file."""
    return record.made["samples"], record.made["loss"], record.made["concept"]


def tab(studio: Studio, visitor: gr.BrowserState) -> Form:
    """Build the tab."""
    learning, drawing, measuring = layout(studio)
    _wire(Handlers(studio), visitor, learning, drawing, measuring)
    filled = {
        "learn": _learning_values(learning),
        "draw": _drawing_values(drawing),
        "measure": {"pictures": measuring.pictures},
    }
    results = {
        "learn": ([learning.samples, learning.loss, learning.concept], learned),
        "draw": ([drawing.gallery], lambda record: [record.made["pictures"]]),
        "measure": ([measuring.curve, measuring.scores], lambda record: [record.made["curve"], record.made["table"]]),
    }

    def show(record: Record) -> dict[Any, Any]:
        if record.job not in filled:
            return {}
        given = {one: record.settings.get(name) for name, one in filled[record.job].items()}
        components, values = results[record.job]
        return given | dict(zip(components, values(record), strict=True))

    shown = [one for given in filled.values() for one in given.values()]
    return Form(
        [*shown, *(one for components, _ in results.values() for one in components)], show,
        words=[drawing.word, drawing.looks], needs_word=True, prompts=drawing.prompt, send=drawing.send,
    )  # fmt: skip


def _learning_values(page: Learning) -> dict[str, Any]:
    return {
        "files": page.files, "token": page.token, "category": page.category, "model": page.model,
        "steps": page.steps, "seed": page.seed,
    }  # fmt: skip


def _drawing_values(page: Drawing) -> dict[str, Any]:
    return {
        "word": page.word, "prompt": page.prompt, "count": page.count, "seed": page.seed, "early": page.early,
        "late": page.late, "fine": page.fine, "looks": page.looks,
    }  # fmt: skip


def _wire(
    handlers: Handlers, visitor: gr.BrowserState, learning: Learning, drawing: Drawing, measuring: Measuring
) -> None:
    studio = handlers.studio
    learning.example.click(
        lambda: (examples(studio.root), "<teapot>"), None, [learning.files, learning.token],
        api_name="example_pictures", show_progress="hidden",
    )  # fmt: skip
    measuring.example.click(
        lambda: examples(studio.root, others=True), None, measuring.pictures, api_name="other_pictures",
        show_progress="hidden",
    )  # fmt: skip
    on(
        learning.at.pressed, handlers.learn, [*_learning_values(learning).values(), visitor],
        [learning.samples, learning.loss, learning.concept, drawing.word, drawing.prompt], at=learning.at,
        api_name="personalize",
    )  # fmt: skip
    on(
        drawing.at.pressed, handlers.draw, [*_drawing_values(drawing).values(), visitor], [drawing.gallery],
        at=drawing.at, api_name="draw",
    )  # fmt: skip
    on(
        measuring.at.pressed, handlers.measure, [drawing.word, measuring.pictures, visitor],
        [measuring.curve, measuring.scores], at=measuring.at, api_name="measure",
    )  # fmt: skip
    on(
        drawing.file.upload, handlers.add, [drawing.file, visitor], [drawing.word, drawing.prompt], at=drawing.at,
        api_name="add_word",
    )  # fmt: skip
    on(
        drawing.word.input, handlers.chosen, [drawing.word, drawing.prompt, visitor], [drawing.prompt], at=drawing.at,
        api_visibility="private",
    )  # fmt: skip
    for at in (learning.at, drawing.at, measuring.at):
        cancelling(studio, visitor, at, TAB)
