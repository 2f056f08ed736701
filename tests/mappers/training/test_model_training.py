"""Options that every command which trains a shipped model has, from the command line to the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import tyro

from mappers.training.model_training import ModelTraining
from mappers.training.train_config import TrainConfig

from .test_trainer import Regression, equal

RECIPE = TrainConfig(steps=6, batch_size=8, learning_rate=1e-2, save_every=2, cpu=True)


def parsed(output: Path, *words: str) -> ModelTraining:
    return tyro.cli(ModelTraining, args=["--output", str(output), *words])


def test_options_that_are_not_given_leave_the_recipe_alone(tmp_path: Path) -> None:
    assert parsed(tmp_path).with_overrides(RECIPE) == RECIPE
    changed = parsed(tmp_path, "--steps", "3", "--max-minutes", "2", "--seed", "5").with_overrides(RECIPE)
    assert (changed.steps, changed.max_minutes, changed.seed) == (3, 2, 5)
    assert changed.learning_rate == RECIPE.learning_rate


def test_a_run_of_fewer_steps_than_the_warm_up_ends_with_it(tmp_path: Path) -> None:
    recipe = RECIPE.with_overrides(warmup_steps=5)
    assert parsed(tmp_path, "--steps", "3").with_overrides(recipe).warmup_steps == 3
    assert parsed(tmp_path).with_overrides(recipe).warmup_steps == 5


def test_a_folder_with_files_of_others_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="has files in it"):
        parsed(tmp_path).start()


def test_a_run_that_was_cut_short_goes_on_only_when_told_to(tmp_path: Path) -> None:
    whole, first, second = Regression(), Regression(), Regression()
    parsed(tmp_path / "whole").fit(whole, RECIPE, {})
    short = parsed(tmp_path / "run", "--max-minutes", "1e-9")
    assert short.fit(first, short.with_overrides(RECIPE), {}).stopped == "time"
    again = parsed(tmp_path / "run", "--resume")
    assert again.fit(second, again.with_overrides(RECIPE), {}).steps == RECIPE.steps
    assert equal(whole, second)


def test_a_finished_run_leaves_a_report_and_prints_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parsed(tmp_path)
    report = arguments.fit(Regression(), RECIPE.with_overrides(log_every=2), {})
    arguments.finish(report, {"part": "sum"}, settings=RECIPE)
    assert json.loads(capsys.readouterr().out) == {"part": "sum", "steps": 6, "stopped": "steps", **report.metrics}
    saved = json.loads((tmp_path / "report.json").read_text())
    assert (saved["part"], saved["metrics"]["steps"], saved["settings"]["batch_size"]) == ("sum", 6, 8)
    assert (tmp_path / "loss.png").exists()


def test_starting_takes_threads_and_seed(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        parsed(tmp_path, "--threads", "1", "--seed", "9").start()
        assert torch.get_num_threads() == 1
        drawn = torch.rand(3)
        torch.manual_seed(9)
        torch.testing.assert_close(drawn, torch.rand(3), rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)
