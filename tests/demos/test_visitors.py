"""Visitors: their folders, what is deleted and when, and what is refused before a job waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from demos import records
from demos.limits import Limits
from demos.records import Task
from demos.visitors import Studio, check_text, new_visitor


def test_visitors_numbers_are_no_paths(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    number = new_visitor()
    assert studio.folder(number) == tmp_path / number
    for wrong in ("", "..", "../" + number, number[:-1], number.upper() + "/", None):
        with pytest.raises(gr.Error, match="visitor"):
            studio.folder(wrong)  # pyright: ignore[reportArgumentType]


def made(studio: Studio, visitor: str, name: str, tab: str = "sound") -> Path:
    folder = studio.folder(visitor) / name
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    records.save(folder, Task(tab, f"Job {name}"), "listen", {})
    return folder


def test_results_are_one_visitors_and_are_deleted_one_by_one_or_all(tmp_path: Path) -> None:
    studio, anna, ben = Studio(tmp_path), new_visitor(), new_visitor()
    assert studio.results(anna) == []
    for name in ("1", "2"):
        made(studio, anna, name)
    made(studio, ben, "3")
    assert [record.id for record in studio.results(anna)] == ["2", "1"]
    with pytest.raises(gr.Error, match="not there any more"):
        studio.delete(anna, "3")
    studio.delete(anna, "1")
    assert [record.id for record in studio.results(anna)] == ["2"]
    studio.delete(anna)
    assert studio.results(anna) == []
    assert [record.id for record in studio.results(ben)] == ["3"]


def test_old_results_go_and_the_apps_other_folders_stay(tmp_path: Path) -> None:
    studio, visitor = Studio(tmp_path, limits=Limits(keep_hours=1)), new_visitor()
    old, new = made(studio, visitor, "1"), made(studio, visitor, "2")
    (tmp_path / "teachers" / "robot").mkdir(parents=True)
    past = time.time() - 7200
    for path in (*old.rglob("*"), old, tmp_path / "teachers" / "robot"):
        os.utime(path, (past, past))
    assert studio.tidy() == [old]
    assert new.is_dir()
    assert (tmp_path / "teachers" / "robot").is_dir()


def test_a_wrong_picture_is_refused_before_its_job_waits(tmp_path: Path) -> None:
    studio = Studio(tmp_path, limits=Limits(megapixels=0.5))
    (tmp_path / "text.png").write_bytes(b"no picture")
    Image.new("1", (1000, 1000)).save(tmp_path / "huge.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    for file, message in (
        (None, "there is no picture yet"),
        (str(tmp_path / "text.png"), "text.png is not a picture"),
        (str(tmp_path / "huge.png"), r"huge.png has 1 megapixels; at most 0.5 are possible"),
    ):
        with pytest.raises(gr.Error, match=message) as caught:
            studio.check_picture(file, "there is no picture yet")
        assert str(tmp_path) not in str(caught.value)
    assert studio.check_picture(str(tmp_path / "good.png"), "") == str(tmp_path / "good.png")


def test_a_message_does_not_repeat_a_long_text() -> None:
    assert check_text("x" * 500, "prompt") == "x" * 500
    with pytest.raises(gr.Error, match="the prompt has 200000 characters; at most 500") as caught:
        check_text("x" * 200_000, "prompt")
    assert len(str(caught.value)) < 200
