"""The tab Results: everything is listed with its settings, found, used again, downloaded and deleted."""

from __future__ import annotations

import zipfile
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from demos import records
from demos.records import Task
from demos.results import Handlers, summary
from demos.visitors import Studio, new_visitor

TITLES = {"sound": "Sound", "personalize": "Personalize"}


@pytest.fixture
def visitor() -> str:
    return new_visitor()


@pytest.fixture
def handlers(tmp_path: Path, visitor: str) -> Handlers:
    studio = Studio(tmp_path)
    for name, tab, files in (
        ("1", "sound", ("sound.wav", "spectrogram.png", "film.mp4")),
        ("2", "personalize", ("concept.safetensors",)),
    ):
        folder = studio.folder(visitor) / name
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_bytes(b"x")
        if tab == "sound":
            Image.new("RGB", (4, 4)).save(folder / "spectrogram.png")
        settings = {"prompt": "<b>bell</b>", "seed": 7, "duration": None}
        records.save(
            folder, Task(tab, "Word <thing>" if tab == "personalize" else "Sound of bell.png", settings), "j", {}
        )
    return Handlers(studio, TITLES)


def test_sounds_words_and_films_are_listed_and_shown(handlers: Handlers, visitor: str) -> None:
    reply = handlers.listed(visitor, "", "")
    gallery, names = reply.values
    assert names == ["2", "1"]
    one, summary_of, pictures, sound, film, files, again, delete = handlers.choose(
        visitor,
        names,
        gr.SelectData(None, {"index": 1, "value": None}),  # pyright: ignore[reportArgumentType]
    )
    assert one == "1"
    assert [Path(path).name for path in pictures["value"]] == ["spectrogram.png"]
    assert (Path(sound["value"]).name, Path(film["value"]).name) == ("sound.wav", "film.mp4")
    assert {Path(path).name for path in files["value"]} == {"sound.wav", "spectrogram.png", "film.mp4"}
    assert again["interactive"] is delete["interactive"] is True
    assert "&lt;b&gt;bell&lt;/b&gt;" in summary_of
    assert "<b>" not in summary_of
    word = handlers.details(handlers.studio.record(visitor, "2"))
    assert word[3]["visible"] is False
    assert [Path(path).name for path in word[5]["value"]] == ["concept.safetensors"]
    assert "Word &lt;thing&gt;" in summary(handlers.studio.record(visitor, "2"))


def test_results_are_found_by_tab_and_by_words(handlers: Handlers, visitor: str) -> None:
    assert handlers.listed(visitor, "bell.png", "").values[1] == ["1"]
    assert handlers.listed(visitor, "", "personalize").values[1] == ["2"]
    nothing = handlers.listed(visitor, "zebra", "")
    assert (nothing.values[1], nothing.text) == ([], "Nothing is found; search for less.")
    assert handlers.listed(new_visitor(), "", "").text == "There are no results yet."


def test_everything_is_downloaded_in_one_file(handlers: Handlers, visitor: str) -> None:
    made = handlers.bundle(visitor, "", "")
    names = zipfile.ZipFile(handlers.studio.folder(visitor) / "download" / "mapfield-results.zip").namelist()
    assert made.visible is True
    assert {"1/sound.wav", "1/film.mp4", "1/job.json", "2/concept.safetensors"} <= {*names}
    with pytest.raises(gr.Error, match="no results to download"):
        handlers.bundle(new_visitor(), "", "")


def test_a_result_and_then_everything_is_deleted(handlers: Handlers, visitor: str) -> None:
    assert handlers.delete("2", visitor, "", "").values[1] == ["1"]
    assert not (handlers.studio.folder(visitor) / "2").exists()
    with pytest.raises(gr.Error, match="no result is chosen"):
        handlers.delete(None, visitor, "", "")
    with pytest.raises(gr.Error, match="not there any more"):
        handlers.delete("../x", visitor, "", "")
    assert handlers.delete_all(visitor).values[1] == []
    assert not handlers.studio.folder(visitor).exists()
