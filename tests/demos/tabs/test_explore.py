"""The tab Explore: ways into a map and back, and prompts with any character in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from demos.records import Record
from demos.tabs import explore
from demos.visitors import Studio


@pytest.fixture
def record(tmp_path: Path) -> Record:
    names = [f"{i}.png" for i in range(3)]
    for i, name in enumerate(names):
        Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(tmp_path / name)
    tree = {"pictures": names, "captions": ["a <b>*x*</b>"] * 3, "merges": [[0, 1, 1.0], [2, 3, 2.0]]}
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    return Record(tmp_path, "explore", "gather", "", 0.0, {}, {})


def free(view: Any) -> list[bool]:
    return [button["interactive"] for button in view[4:]]


def test_the_ways_back_are_free_where_there_are_any(record: Record, tmp_path: Path) -> None:
    handlers = explore.Handlers(Studio(tmp_path))
    whole = explore.shown(record)
    assert free(whole) == [False, False]
    inside = handlers.group(whole[2].choices[0][1], whole[3])
    assert free(inside) == [True, True]
    assert handlers.out(inside[3])[3] == handlers.whole(inside[3])[3] == whole[3]
    with pytest.raises(gr.Error, match="not in the present map"):
        handlers.group(99, whole[3])
    with pytest.raises(gr.Error, match="there is no map yet"):
        handlers.out(None)
    with pytest.raises(gr.Error, match="was deleted"):
        handlers.out((str(tmp_path / "gone"), (0,)))


def test_a_prompt_is_shown_as_it_was_written(record: Record) -> None:
    where = explore.shown(record)[1]
    assert "<b>" not in where
    assert where.startswith("**3 pictures: a &#60;b&#62;&#42;x&#42;")


def test_too_many_pictures_and_long_prompts_are_refused() -> None:
    assert explore.prompts_of("a\n\n b ", 4) == ["a", "b"]
    with pytest.raises(gr.Error, match="1 prompts with 1 pictures each are 1 pictures; 2 to 64"):
        explore.prompts_of("a", 1)
    with pytest.raises(gr.Error, match="the prompt has 600 characters"):
        explore.prompts_of("a" * 600, 4)
