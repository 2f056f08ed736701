"""Pictures of a prompt as a file: sizes, schedulers, precision, where words come from, and what is refused first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import diffusers
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from pipelines.personalization import generation
from pipelines.personalization.concepts import Concept, load_concept, save_concept
from pipelines.personalization.generation import SCHEDULERS, generate
from pipelines.personalization.options import SchedulerName
from pipelines.personalization.pipeline import NeTIPipeline


@pytest.fixture
def concept(pipeline: NeTIPipeline, tiny_model: Path, tmp_path: Path) -> Path:
    """A folder with a word and, as after its training, the report that says where its base model is."""
    mapper = NeTIMapper(pipeline.layers, 16, 20.0)
    save_concept(Concept("<x>", "toy", mapper, pipeline.base, str(tiny_model)), tmp_path / "c" / "concept.safetensors")
    (tmp_path / "c" / "report.json").write_text(f'{{"model": "{tiny_model}"}}')
    return tmp_path / "c"


def test_size_scheduler_precision_and_a_folder(concept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[NeTIPipeline] = []
    draw = NeTIPipeline.__call__
    monkeypatch.setattr(NeTIPipeline, "__call__", lambda self, *a, **k: (used.append(self), draw(self, *a, **k))[1])
    made = generate(
        "a <X>", tmp_path / "o" / "x.png", concepts=[concept], count=1, steps=1, height=48, width=32,
        scheduler="euler", dtype="bfloat16", device="cpu",
    )  # fmt: skip
    assert made.size == (32, 48)
    with Image.open(tmp_path / "o" / "x.png") as written:
        assert written.info["seed"] == "0"
    assert isinstance(used[0].scheduler, diffusers.EulerDiscreteScheduler)
    assert used[0].unet.dtype == torch.bfloat16
    assert set(get_args(SchedulerName)) == set(SCHEDULERS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"seed": 10**20}, r"seed must be in 0..2\^63 - 1, got 100000000000000000000"),
        ({"output": "x.jpg"}, "pictures are written as .png, got x.jpg"),
        ({"output": "file/x.png"}, "cannot be written, because .*file is a file and no folder"),
        ({"output": "folder.png"}, "is a folder"),
    ],
)
def test_what_would_fail_later_is_refused_before_the_model_is_loaded(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "base_of", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    output = tmp_path / options.pop("output", "x.png")
    with pytest.raises((ValueError, OSError), match=message):
        generate("a cat", output, **options)


def test_a_base_model_that_is_gone_can_be_given(concept: Path, tiny_model: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(concept / "concept.safetensors", tmp_path / "alone.safetensors"))
    assert str(tiny_model).encode() not in alone.read_bytes()
    assert (load_concept(alone).model, load_concept(concept / "concept.safetensors").model) == (
        tiny_model.name,
        str(tiny_model),
    )
    with pytest.raises(
        FileNotFoundError, match=rf"<x> was learned on '{tiny_model.name}', which is not found.*--model"
    ):
        generate("a <x>", tmp_path / "x.png", concepts=[alone], count=1, steps=1)
    generate("a <x>", tmp_path / "x.png", concepts=[alone], count=1, steps=1, model=str(tiny_model), device="cpu")
    with pytest.raises(ValueError, match="has none of the learned words <x> in it"):
        generate("a <x", tmp_path / "y.png", concepts=[alone], model=str(tiny_model), device="cpu")
