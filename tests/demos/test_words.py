"""Learned words go from tab to tab without a file."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from demos import records, words
from demos.examples import EXAMPLE
from demos.records import Task
from demos.visitors import Studio, new_visitor
from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept, save_concept
from pipelines.plugging.fingerprint import Fingerprint


def concept(folder: Path, model: str = "nano") -> str:
    word = Concept("<x>", "toy", NeTIMapper(2, 8, 0.4), Fingerprint(2, 8, [0.0] * 16), model)
    return str(save_concept(word, folder / "concept.safetensors"))


def test_a_learned_word_is_in_the_list_and_chosen(tmp_path: Path) -> None:
    studio, visitor = Studio(tmp_path), new_visitor()
    assert words.words_of(studio, visitor) == [("<teapot> (example)", EXAMPLE)]
    folder = studio.folder(visitor) / "1-learn"
    folder.mkdir(parents=True)
    path = concept(folder)
    records.save(folder, Task("personalize", "Word <x>", {"token": "<x>"}), "learn", {"concept": path})
    assert [name for _, name in words.words_of(studio, visitor)] == ["1-learn", EXAMPLE]
    assert words.word(studio, visitor, "1-learn").made["concept"] == path
    assert words.choices(studio, visitor, None).value == "1-learn"
    assert words.choices(studio, visitor, EXAMPLE).value == EXAMPLE
    assert words.choices(studio, visitor, "gone", optional=True).value == ""
    assert [name for _, name in words.words_of(studio, new_visitor())] == [EXAMPLE]  # nobody else's
    for name, message in ((None, "no word is chosen"), ("../1-learn", "not there any more")):
        with pytest.raises(gr.Error, match=message):
            words.word(studio, visitor, name)


def test_a_words_file_from_elsewhere_joins_the_list(tmp_path: Path) -> None:
    studio, visitor = Studio(tmp_path / "app"), new_visitor()
    record = words.add(studio, visitor, concept(tmp_path))
    assert (record.settings["token"], record.title) == ("<x>", "Word <x> from a file")
    assert record.id in [name for _, name in words.words_of(studio, visitor)]
    (tmp_path / "wrong.safetensors").write_bytes(b"x")
    for file, message in (
        (concept(tmp_path, "/somewhere/else"), r"was learned on '.*else'; this app has nano"),
        (str(tmp_path / "wrong.safetensors"), "wrong.safetensors"),
        (None, "there is no file yet"),
    ):
        with pytest.raises(gr.Error, match=message):
            words.add(studio, visitor, file)
    assert len(studio.results(visitor)) == 1


def test_first_prompts_have_the_word() -> None:
    assert words.prompt_with("<x>") == "a photo of a <x> on the beach"
    lines = words.prompts_with("<x>").splitlines()
    assert len(lines) == 6
    assert all("<x>" in line for line in lines)
