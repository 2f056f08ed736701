"""A run goes on only with what it was made from; what differs is named."""

from __future__ import annotations

import ast
import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mappers.training.model_training import frozen_parts
from mappers.training.monitoring import TrainingError
from mappers.training.run_inputs import RunInputs, fingerprint
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit

from .test_trainer import CONFIG, Regression

ROOT = Path(__file__).parents[3]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a made-up capability."""

    flip: float = 0.5
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


PICTURE = Image.new("RGB", (4, 4), "red")
INPUTS = {"category": "toy", "settings": Settings(), "pictures": [PICTURE], "masks": None}


def test_inputs_are_named_with_a_fingerprint_for_data_and_without_the_trainers_own_settings() -> None:
    values = RunInputs.of(INPUTS).values
    assert list(values) == ["category", "settings.flip", "pictures", "masks"]
    assert values["pictures"] == fingerprint([PICTURE.copy()])
    assert json.loads(json.dumps(values)) == values


def test_fingerprints_tell_data_apart_and_not_their_precision() -> None:
    weights = nn.Linear(8, 4)
    values: list = [
        PICTURE, [PICTURE], [PICTURE, PICTURE], torch.ones(2, 3), torch.ones(3, 2), torch.ones(2, 3, dtype=torch.int64),
        np.zeros((2, 2), np.uint8), b"01", {"a": 1}, {"a": 2}, weights, nn.Linear(8, 4), "01", None,
    ]  # fmt: skip
    assert len({fingerprint(value) for value in values}) == len(values)
    half = torch.tensor([0.1, 0.2]).half()
    assert fingerprint(half) == fingerprint(half.float())
    with torch.no_grad():
        before = fingerprint(weights)
        weights.weight[0, 0] += 1e-3
    assert fingerprint(weights) != before
    with pytest.raises(TypeError, match="got object"):
        fingerprint(object())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"category": "car"}, r"category: toy -> car"),
        ({"pictures": [PICTURE, PICTURE]}, r"pictures: other content"),
        ({"masks": [PICTURE]}, r"masks: other content"),
        ({"settings": Settings(flip=0.25)}, r"settings.flip: 0.5 -> 0.25"),
        ({"category": "car", "settings": Settings(flip=0)}, r"category: toy -> car; settings.flip: 0.5 -> 0"),
    ],
)
def test_resuming_with_other_inputs_is_refused_and_names_them(tmp_path: Path, changed: dict, message: str) -> None:
    fit(Regression(), CONFIG, output_dir=tmp_path, inputs=INPUTS)
    with pytest.raises(TrainingError, match=rf"made from other inputs \(.*{message}\); use those, or another folder"):
        fit(Regression(), CONFIG, output_dir=tmp_path, resume=True, inputs=INPUTS | changed)
    assert fit(Regression(), CONFIG, output_dir=tmp_path, resume=True, inputs=INPUTS).steps == CONFIG.steps


def test_a_setting_unknown_to_the_runs_version_had_its_default() -> None:
    saved = {name: value for name, value in RunInputs.of(INPUTS).values.items() if name != "settings.flip"}
    assert RunInputs.of(INPUTS).differences(saved) == []
    changed = RunInputs.of(INPUTS | {"settings": Settings(flip=1.0)})
    assert changed.differences(saved) == ["settings.flip: 0.5 -> 1.0"]
    assert RunInputs.of(INPUTS).differences(saved | {"gone": 3}) == ["gone: 3 -> nothing"]


def test_a_checkpoint_without_a_description_goes_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(Regression(), CONFIG, output_dir=tmp_path)
    fit(Regression(), CONFIG, output_dir=tmp_path, resume=True, inputs=INPUTS)
    assert "does not say what it was made from" in caplog.text


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_finished_run_goes_on_to_more_steps_and_says_what_the_schedule_does(
    tmp_path: Path, schedule: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(CONFIG, schedule=schedule)
    fit(Regression(), config, output_dir=tmp_path)
    longer = dataclasses.replace(config, steps=30)
    with caplog.at_level(logging.WARNING):
        report = fit(Regression(), longer, output_dir=tmp_path, resume=True)
    assert report.steps == 30
    assert f"has finished its 20 steps, after which its {schedule} schedule" in caplog.text
    assert "goes on to 30 steps" in caplog.text
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["train/learning_rate"] for row in rows if "train/learning_rate" in row}
    assert rates[20] < 1e-3 < rates[21]
    assert rates[30] < rates[21]


def test_an_unfinished_run_keeps_its_length(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, schedule="cosine", max_minutes=1e-9)
    fit(Regression(), config, output_dir=tmp_path)
    with pytest.raises(TrainingError, match=r"steps 20 -> 30.*only a run that has finished its 20 steps can go on"):
        fit(Regression(), dataclasses.replace(config, steps=30), output_dir=tmp_path, resume=True)


def test_frozen_parts_are_what_a_task_keeps_as_it_is() -> None:
    class Task(Regression):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.half, self.trained = (nn.Linear(2, 2) for _ in range(3))
            self.frozen.requires_grad_(False)
            self.half.bias.requires_grad_(False)

    task = Task()
    before = frozen_parts(task)
    assert list(before) == ["frozen", "half"]
    with torch.no_grad():
        task.half.weight.add_(1)
        task.trained.weight.add_(1)
    assert frozen_parts(task) == before
    with torch.no_grad():
        task.half.bias.add_(1)
    assert frozen_parts(task) != before


def test_every_training_that_can_resume_says_what_it_is_made_from() -> None:
    without = []
    for package in ("mappers", "nerf", "pipelines", "demos"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fit":
                    names = {keyword.arg for keyword in node.keywords}
                    if "resume" in names and "inputs" not in names:
                        without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not without
