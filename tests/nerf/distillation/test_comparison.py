"""Reports of distillation: against the teacher, against the photos, and against training from scratch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mappers.quality import psnr
from nerf.distillation import comparison as reports
from nerf.distillation.comparison import compare_student, from_scratch
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, psnr_between
from nerf.fields.mlp import MLPConfig
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig

TINY = MLPConfig(layers=1, width=16, octaves=3)


@pytest.fixture
def teacher(trained: tuple[Run, Path]) -> Run:
    return trained[0]


def quick(config: Any, **changes: Any) -> Any:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=64, cpu=True, **changes))


def test_distilling_leaves_and_keeps_the_figures(teacher: Run, scene: Scene, tmp_path: Path) -> None:
    run = distill(teacher, "mlp", size=TINY, config=quick(DistillConfig(), steps=3), output_dir=tmp_path)
    figures = json.loads((tmp_path / "report.json").read_text())["figures"]
    assert figures == run.figures == load_run(tmp_path).figures
    cameras = scene.split("test").cameras
    pairs = [psnr(run.draw(cameras[i]).color, teacher.draw(cameras[i]).color) for i in range(len(cameras))]
    assert figures["psnr_to_teacher"] == pytest.approx(sum(pairs) / len(pairs))
    assert figures["psnr"] == pytest.approx(evaluate_views(run.draw, scene)["psnr"])
    assert figures["teacher_psnr"] == pytest.approx(evaluate_views(teacher.draw, scene)["psnr"])
    assert figures["parameters"] == sum(p.numel() for p in run.field.parameters())
    assert figures["processor_seconds"] > 0
    assert figures["scratch_psnr"] == "not run; ask for it with --scratch"


def test_pictures_below_the_window_of_ssim_have_none(teacher: Run, tmp_path: Path) -> None:
    found = evaluate_views(teacher.draw, load_scene("robot", downscale=10), output_dir=tmp_path)  # 10x10 pixels
    assert found.keys() == {"psnr"}
    assert (tmp_path / "evaluation.json").is_file()


def test_without_the_scene_the_report_says_so(teacher: Run, tmp_path: Path) -> None:
    gone = dataclasses.replace(teacher, scene=str(tmp_path / "gone"))
    figures = compare_student(teacher, gone, scratch=True, seed=0)
    assert figures["psnr_to_teacher"] == 100
    assert str(figures["psnr"]).startswith("not measured: there is no folder")
    assert str(figures["scratch_psnr"]).startswith("not run: there is no folder")


def test_nothing_is_compared_that_nobody_keeps(teacher: Run) -> None:
    run = distill(teacher, "mlp", size=TINY, config=quick(DistillConfig(), steps=1))
    assert set(run.figures) == {"parameters", "processor_seconds"}


def costing(run: Run, seconds: float) -> Run:
    return dataclasses.replace(run, figures={"processor_seconds": seconds})


def test_from_scratch_takes_as_many_seconds(teacher: Run, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where first steps are slow."""
    tried = []

    def train(of: Scene, family: str, *, size: Any, config: RadianceConfig, steps: int, seed: int) -> Run:
        assert (of, family, size, config.train.validate_every, seed) == (scene, "hash", teacher.field.config, None, 3)
        tried.append(steps)
        spent = min(steps, 50) * 0.2 + max(steps - 50, 0) * 0.01
        return costing(teacher, spent)

    monkeypatch.setattr(reports, "train", train)
    run = from_scratch(costing(teacher, 30.0), scene, seed=3)
    assert 27 < float(run.figures["processor_seconds"]) < 33
    assert len(tried) <= 6
    assert all(later <= 9 * earlier for earlier, later in zip(tried, tried[1:], strict=False))


def test_the_scratch_column_is_measured(teacher: Run, scene: Scene) -> None:
    figures = compare_student(costing(teacher, 0.5), teacher, scratch=True, seed=0)
    assert 5 < float(figures["scratch_psnr"]) < 40
    assert float(figures["scratch_processor_seconds"]) > 0.45
    assert int(figures["scratch_steps"]) >= 10


def test_psnr_between_two_is_a_mean_over_cameras(teacher: Run) -> None:
    cameras = teacher.viewpoints.draw(2, torch.Generator().manual_seed(0))
    dark = dataclasses.replace(teacher)
    views = [teacher.draw(cameras[i]).color for i in range(2)]
    shifted = [view + 0.1 * (i + 1) for i, view in enumerate(views)]
    answers = iter(dataclasses.replace(teacher.draw(cameras[0]), color=color) for color in shifted)
    dark.draw = lambda camera: next(answers)  # type: ignore[method-assign]
    expected = sum(psnr(a, b) for a, b in zip(views, shifted, strict=True)) / 2
    assert psnr_between(teacher.draw, dark.draw, cameras) == pytest.approx(expected)
