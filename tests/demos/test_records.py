"""What the app keeps of jobs: records, their files, the search, the zip file and the date of expiry."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from demos import records
from demos.records import RECORD, Task


@pytest.fixture
def visitor(tmp_path: Path) -> Path:
    """Two jobs: a sound of a picture, and a word."""
    given = tmp_path / "bell.png"
    given.write_bytes(b"picture")
    for name, tab, title, files in (
        ("1-listen", "sound", "Sound of bell.png", ("sound.wav", "spectrogram.png", "metrics.jsonl")),
        ("2-learn", "personalize", "Word <cat>", ("concept.safetensors", "samples.png")),
    ):
        folder = tmp_path / "visitor" / name
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_bytes(file.encode())
        task = Task(tab, title, {"seed": 3}, {"picture": str(given)})
        records.save(folder, task, name.split("-")[1], {"first": str(folder / files[0]), "scores": (0.5, None)})
    return tmp_path / "visitor"


def test_a_record_is_read_back_with_everything_and_moves_with_its_folder(visitor: Path, tmp_path: Path) -> None:
    visitor.rename(tmp_path / "elsewhere")
    word, sound = records.listed(tmp_path / "elsewhere")
    assert (word.title, word.job, word.tab, word.id) == ("Word <cat>", "learn", "personalize", "2-learn")
    assert [path.name for path in word.files()] == ["concept.safetensors", "samples.png"]
    assert [path.name for path in sound.files()] == ["sound.wav", "spectrogram.png"]
    assert sound.made == {"first": str(tmp_path / "elsewhere/1-listen/sound.wav"), "scores": [0.5, None]}
    assert sound.settings["seed"] == 3
    assert Path(sound.settings["picture"]).read_bytes() == b"picture"
    assert sound.thumbnail() == tmp_path / "elsewhere/1-listen/spectrogram.png"


def test_a_record_names_no_folder_of_the_machine(visitor: Path, tmp_path: Path) -> None:
    for path in visitor.glob(f"*/{RECORD}"):
        assert str(tmp_path) not in path.read_text()
        assert json.loads(path.read_text())["settings"]["picture"] == {"file": "inputs/bell.png"}


def test_results_are_found_by_words_of_title_and_settings(visitor: Path) -> None:
    assert [record.id for record in records.listed(visitor)] == ["2-learn", "1-listen"]
    assert [record.id for record in records.listed(visitor, "SOUND bell")] == ["1-listen"]
    assert [record.id for record in records.listed(visitor, "'seed': 3")] == ["2-learn", "1-listen"]
    assert records.listed(visitor, "nothing") == []


def test_no_name_leads_out_of_a_visitors_folder(visitor: Path) -> None:
    assert records.named(visitor, "1-listen") is not None
    for name in ("..", "../visitor/1-listen", "", "1-listen/../2-learn", str(visitor / "1-listen"), "gone"):
        assert records.named(visitor, name) is None


def test_a_damaged_record_is_left_out(visitor: Path) -> None:
    (visitor / "1-listen" / RECORD).write_text("{")
    (visitor / "2-learn" / RECORD).write_text("[]")
    assert records.listed(visitor) == []


def test_the_zip_file_has_results_uploads_and_settings(visitor: Path, tmp_path: Path) -> None:
    path = records.bundle(records.listed(visitor), tmp_path / "download" / "all.zip")
    names = zipfile.ZipFile(path).namelist()
    assert sorted(names) == [
        "1-listen/inputs/bell.png", "1-listen/job.json", "1-listen/sound.wav", "1-listen/spectrogram.png",
        "2-learn/concept.safetensors", "2-learn/inputs/bell.png", "2-learn/job.json", "2-learn/samples.png",
    ]  # fmt: skip


def test_what_is_old_is_deleted_and_nothing_else(visitor: Path) -> None:
    past = time.time() - 2 * 3600
    for path in (visitor / "1-listen", *(visitor / "1-listen").rglob("*")):
        os.utime(path, (past, past))
    assert records.expire([visitor], 3) == []
    assert records.expire([visitor], 1) == [visitor / "1-listen"]
    assert [path.name for path in visitor.iterdir()] == ["2-learn"]
    assert records.expire([visitor], -1) == [visitor / "2-learn"]
    assert not visitor.exists()
