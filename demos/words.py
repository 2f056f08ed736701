"""Learned words of a visitor, which every tab that draws words offers without a file being carried to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from . import records
from .examples import EXAMPLE, example_word
from .records import Record, Task
from .visitors import Studio, is_visitor, refusal, refusals


def words_of(studio: Studio, visitor: str) -> list[tuple[str, str]]:
    """Labels and names of a visitor's words, the latest first, and last the example's."""
    own = studio.results(visitor) if is_visitor(visitor) else []
    words = [(f"{record.settings['token']}, {record.when}", record.id) for record in own if "concept" in record.made]
    return [*words, *example_words()]


def example_words() -> list[tuple[str, str]]:
    """Label and name of the example's word."""
    example = example_word()
    return [] if example is None else [(f"{example.settings['token']} (example)", EXAMPLE)]


def word(studio: Studio, visitor: str, name: str | None) -> Record:
    """A visitor's word, or the example's.

    Raises:
        gr.Error: no word is chosen, or it is not there any more.
    """
    if not name:
        raise refusal("no word is chosen yet; learn one, or open a word's file")
    example = example_word()
    return example if name == EXAMPLE and example is not None else studio.record(visitor, name)


def choices(studio: Studio, visitor: str, chosen: str | None, *, optional: bool = False) -> Any:
    """The list of words anew; what was chosen stays chosen if it is still there.

    Args:
        studio: the app.
        visitor: whose words.
        chosen: name of the present choice.
        optional: the list begins with none; otherwise the latest word replaces a choice that is gone.
    """
    words = words_of(studio, visitor)
    names = [name for _, name in words]
    if optional:
        return gr.Dropdown(choices=[("none", ""), *words], value=chosen if chosen in names else "")
    return gr.Dropdown(choices=words, value=chosen if chosen in names else next(iter(names), None))


def add(studio: Studio, visitor: str, file: str | None) -> Record:
    """Keep a word's file from elsewhere among the visitor's words.

    Raises:
        gr.Error: the file is none, or its model is not one of the app's.
    """
    from pipelines import load_concept

    if not file:
        raise refusal("there is no file yet; choose a word's .safetensors file")
    folder = studio.fresh(visitor, "add_word")
    with refusals():
        learned = load_concept(Path(file))
        if learned.model not in studio.models:
            models = ", ".join(studio.models)
            raise ValueError(f"the word {learned.token} was learned on {learned.model!r}; this app has {models}")
        folder.mkdir(parents=True)
        concept = folder / "concept.safetensors"
        concept.write_bytes(Path(file).read_bytes())
    task = Task("personalize", f"Word {learned.token} from a file", {"token": learned.token})
    return records.save(folder, task, "add_word", {"concept": str(concept)})


def prompt_with(token: str) -> str:
    """A first prompt for a word."""
    return f"a photo of a {token} on the beach"


def prompts_with(token: str) -> str:
    """First prompts for a map of a word."""
    places = ("on the beach", "in the snow", "in the night sky", "in the meadow", "on a yellow ground")
    return "\n".join([*(f"a photo of a {token} {place}" for place in places), f"a watercolor of a {token}"])
