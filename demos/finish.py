"""Make the finished examples anew, with the page's own default settings: ``python -m demos.finish``."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import tyro

from .app import build
from .examples import EXAMPLE, FOLDER, example_word
from .jobs import Worker
from .records import RECORD, Record
from .tabs import compress_jobs, personalize_jobs, sound_jobs
from .tabs.editing_models import found
from .visitors import Studio, new_visitor
from .words import prompt_with

OBJECT, TEXT = 0, "a red chair"
"""What the example of the tab Edit 3D begins with, and what it should become."""
NEEDED = (".png", ".gif", ".wav", ".safetensors", ".mfc", ".jpeg", ".avif", ".json", ".mp4")
JOBS = ("learn", "draw", "gather", "listen", "teach", "edit", "code")


def press(page: gr.Blocks, visitor: str, name: str, given: dict[str, Any]) -> None:
    """Do what a button does with the values that its page begins with, but for some, by their labels."""
    event = next(event for event in page.fns.values() if event.api_name == name)
    values = []
    for component in event.inputs:
        if isinstance(component, gr.BrowserState):
            values.append(visitor)
        else:
            values.append(given.get(getattr(component, "label", None) or "", getattr(component, "value", None)))
    for _ in event.fn(*values):  # pyright: ignore[reportOptionalCall]
        pass


def keep(record: Record, word: str | None) -> None:
    """Copy what a page needs of a finished job to the package."""
    target = FOLDER / f"{record.tab}-{record.job}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(record.folder, target, ignore=lambda _, names: [one for one in names if one == "samples"])
    if record.job == "teach":
        teacher = record.folder.parents[1] / "teachers" / record.settings["scene"]
        shutil.copytree(teacher, target / "teacher", ignore=lambda _, names: {"checkpoints", "samples"} & {*names})
    saved = json.loads((target / RECORD).read_text(encoding="utf-8"))
    saved["time"] = 0.0  # older than any visitor's
    for path in [path for path in target.rglob("*") if path.is_file() and path.suffix not in NEEDED]:
        path.unlink()
    if saved["settings"].get("word") == word and word:
        saved["settings"]["word"] = EXAMPLE
    (target / RECORD).write_text(json.dumps(saved, indent=1), encoding="utf-8")


def main(*, jobs: tuple[str, ...] = JOBS) -> None:
    """Make finished examples anew.

    Args:
        jobs: which ones, of learn, draw, gather, listen, teach, edit and code; a word that is not learned is the
            example's.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, visitor = Path(folder), new_visitor()
        studio = Studio(root, categories=found(), worker=Worker(limit=3600))
        page = build(studio)
        word = EXAMPLE
        for job in jobs:
            if job == "learn":
                press(
                    page, visitor, "personalize", {"Two to six pictures of one thing": personalize_jobs.examples(root)}
                )
                word = studio.results(visitor)[0].id
            elif job == "draw":
                example = studio.record(visitor, word) if word != EXAMPLE else example_word()
                assert example is not None
                prompt = prompt_with(example.settings["token"])
                press(page, visitor, "draw", {"Learned word": word, "Prompt": prompt})
            elif job == "gather":
                press(page, visitor, "explore", {})
            elif job == "listen":
                press(page, visitor, "vision_to_audio", {"Picture": sound_jobs.examples(root)[0]})
            elif job == "teach":
                press(page, visitor, "distill", {})
            elif job == "edit":
                press(page, visitor, "edit", {"Object": OBJECT, "Describe the object": TEXT})
            elif job == "code":
                press(page, visitor, "compress", {"Picture": compress_jobs.examples(root)[0]})
            keep(studio.results(visitor)[0], word)
            print(f"made {job}", flush=True)
        studio.worker.stop()


if __name__ == "__main__":
    tyro.cli(main)
