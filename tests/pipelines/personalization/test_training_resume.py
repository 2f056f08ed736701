"""A word's training goes on only with the pictures, the category, the settings and the model that it began with."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mappers.training.monitoring import TrainingError
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization.settings import PersonalizeConfig

from .test_training import TOKEN, pictures

CONFIG = PersonalizeConfig(train=TrainConfig(steps=3, batch_size=2, log_every=1, schedule="cosine"))
MASKS = [Image.new("L", (32, 32), "white")] * 2


@pytest.fixture
def begun(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a run that was stopped after its first step."""
    arguments: dict[str, Any] = {
        "images": {TOKEN: pictures()}, "category": "toy", "config": CONFIG, "model": tiny_model, "output_dir": tmp_path
    }  # fmt: skip
    personalize(**arguments, max_minutes=1e-9)
    return arguments


def finetuned(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v + 0.01 * torch.randn_like(v) for k, v in load_file(path).items()}, path, {"format": "pt"})
    return folder


def test_resuming_with_other_inputs_is_refused_and_names_them(begun: dict[str, Any], tmp_path: Path) -> None:
    other = dataclasses.replace(CONFIG, min_snr=5.0, flip=0.0, resolution=16)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"images": {TOKEN: pictures(3)}}, r"word.<thing>.pictures: other content"),
        ({"images": {"<that>": pictures()}}, r"word.<that>.category: nothing -> toy; .*words: \['<thing>'\] -> "),
        ({"category": "car"}, r"word.<thing>.category: toy -> car"),
        ({"masks": {TOKEN: MASKS}}, r"word.<thing>.masks: other content"),
        ({"config": other}, r"flip: 0.5 -> 0.0; settings.min_snr: nothing -> 5.0; settings.resolution: nothing -> 16"),
        ({"model": finetuned(begun["model"], tmp_path / "finetuned")}, r"model.unet: other content"),
    ]
    for changed, message in changes:
        with pytest.raises(TrainingError, match=rf"made from other inputs \(.*{message}"):
            personalize(**begun | changed, resume=True)
    personalize(**begun, resume=True)


def test_a_finished_word_learns_on(begun: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    personalize(**begun, resume=True)
    personalize(**begun, resume=True, steps=5)
    assert "goes on to 5 steps with the schedule of a run of that length" in caplog.text
