"""Output folders of trainings: what may be there, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappers.training.monitoring import TrainingError
from mappers.training.run_folder import run_folder
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit

from .test_trainer import Regression

CONFIG = TrainConfig(steps=4, batch_size=8, learning_rate=1e-2, log_every=1, save_every=None, cpu=True)


class Failing(Regression):
    """A task that fails in its third step, before any checkpoint."""

    def batch(self, draws):
        if draws.step == 2:
            raise RuntimeError("no memory")
        return super().batch(draws)


def train(task: Regression, folder: Path, **options) -> int:
    return fit(task, CONFIG, output_dir=run_folder(folder, **options)).steps


@pytest.mark.parametrize("resume", [False, "auto"])
def test_a_folder_with_nothing_learned_is_used_again_and_its_logs_are_kept(tmp_path: Path, resume) -> None:
    failed = []
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            train(Failing(), tmp_path)
        failed.append((tmp_path / "metrics.jsonl").read_bytes())
    assert train(Regression(), tmp_path, resume=resume) == 4
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert [(tmp_path / f"unfinished_{i}" / "metrics.jsonl").read_bytes() for i in (1, 2)] == failed
    with pytest.raises(TrainingError, match="already holds a run; resume it"):
        train(Regression(), tmp_path)


def test_a_save_that_was_interrupted_is_nothing_learned(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".writing-step_000002-1").mkdir(parents=True)
    (tmp_path / "checkpoints" / ".writing-step_000002-1" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "metrics.jsonl").write_text("")
    assert train(Regression(), tmp_path) == 4


@pytest.mark.parametrize("name", ["notes.txt", "model/config.json", "step_000001_mine.png", "samples/holiday.png"])
def test_a_file_of_a_user_is_neither_replaced_nor_moved(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    if "step" not in name:
        (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(FileExistsError, match="has files in it; choose a new or empty folder"):
        run_folder(tmp_path)
    assert mine.read_text() == "mine"
