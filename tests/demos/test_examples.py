"""The finished examples that a first visit shows: there is one for each tab, of the page's default settings."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from demos.app import TABS, build
from demos.examples import EXAMPLE, FOLDER, example_word, finished, latest
from demos.records import Record
from demos.tabs.editing_models import found
from demos.visitors import Studio


def test_every_tab_has_a_finished_example_with_its_files() -> None:
    assert {record.tab for record in finished()} == set(TABS)
    for record in finished():
        values = [*record.made.values(), *record.settings.values()]
        paths = [Path(value) for value in values if isinstance(value, str) and value.startswith("/")]
        assert all(path.is_file() and path.is_relative_to(FOLDER) for path in paths), record.id
        assert record.thumbnail() is not None, record.id
        if "sounds" in record.made:
            assert all(Path(path).is_file() for path in record.made["sounds"])
    word = example_word()
    assert word is not None
    assert word.settings["token"] == "<teapot>"
    drawn = next(record for record in finished() if record.job == "draw")
    assert drawn.settings["word"] == EXAMPLE
    assert word.settings["token"] in drawn.settings["prompt"]


@pytest.mark.usefixtures("loops")
@pytest.mark.filterwarnings("ignore")
def test_examples_have_the_settings_that_the_page_begins_with(tmp_path: Path) -> None:
    """Steps, seeds and the like: what a visitor's own first job would have."""
    page = build(Studio(tmp_path, categories=found()))
    events = {"learn": "personalize", "gather": "explore", "listen": "vision_to_audio", "teach": "distill",
              "code": "compress"}  # fmt: skip
    for record in finished():
        if record.job not in events:
            continue
        event = next(one for one in page.fns.values() if one.api_name == events[record.job])
        defaults = [getattr(one, "value", None) for one in event.inputs if isinstance(one, gr.components.FormComponent)]
        numbers = [one for one in defaults if isinstance(one, int | float)]
        settings = [one for one in record.settings.values() if isinstance(one, int | float)]
        assert sorted(settings) == sorted(numbers), record.id


def test_a_visitors_newest_job_takes_the_place_of_the_example(tmp_path: Path) -> None:
    example = next(record for record in finished() if record.job == "listen")
    own = [Record(tmp_path / str(i), "sound", "listen", str(i), float(i), {}, {}) for i in (2, 1)]
    chosen = latest(own)
    assert [record.title for record in chosen if record.job == "listen"] == ["2"]
    assert example not in chosen
    assert len(chosen) == len(finished())
