"""Training from recipe to folder, and by two processes as by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mappers.quality import psnr
from nerf.conditional import ConditionalModel
from nerf.conditional.decoder.task import measured
from nerf.conditional.families.splits import split_of
from nerf.conditional.settings import CategoryConfig
from nerf.conditional.train import Arguments, main
from nerf.fields.conditional import ConditionalConfig

OneAndTwo = Callable[[Path], tuple[Path, Path]]
Logged = Callable[[Path], list[dict[str, Any]]]
RECIPE = """
family: cars
shapes: 4
palettes: 4
size: 16
rays: 48
taught_steps: 20
points: 96
intervals: 24
grid: 8
grid_every: 2
field: {shape_code: 6, appearance_code: 5, layers: 2, width: 24, octaves: 4, deform_layers: 1, deform_width: 16,
        color_layers: 1, color_width: 16}
train: {steps: 30, batch_size: 4, learning_rate: 1.0e-2, log_every: 1, cpu: true}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_becomes_a_model(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = main(Arguments(recipe=str(recipe), output=tmp_path / "run"))
    losses = [loss for _, loss in report.losses]
    assert sum(losses[16:20]) < 0.8 * sum(losses[:4])
    model = ConditionalModel.load(tmp_path / "run" / "model")
    assert model.family.name == "cars"
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert model.notes.items() <= printed.items()
    saved = json.loads((tmp_path / "run" / "report.json").read_text())
    assert saved.items() >= model.notes.items()
    assert saved["settings"]["train"]["steps"] == 30
    assert (tmp_path / "run" / "loss.png").exists()
    assert model.notes["steps"] == 30
    assert model.shape_codes.shape == (4, 6)
    assert model.appearance_codes.shape == (4, 5)
    # Codes have begun to differ from the small random numbers they start with.
    assert float(model.shape_codes.std()) > 0.1


def test_an_unknown_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no settings file trucks; shipped are: cars, chairs"):
        main(Arguments(recipe="trucks", output=tmp_path))


def test_measured_quality_is_that_of_whole_pictures(balls: ConditionalModel) -> None:
    """Of every pair, when there are no more: by hand over the two halves of the table."""
    config = CategoryConfig(shapes=5, palettes=3, size=12, field=ConditionalConfig(shape_code=4, appearance_code=3))
    figures = measured(balls, config, count=100)
    held = split_of(balls.family, 5, 3).held_out_pairs
    for name, wanted in (("train", ~held), ("held_pairs", held)):
        generator = torch.Generator().manual_seed(7)
        pairs = wanted.nonzero()[torch.randperm(int(wanted.sum()), generator=generator)]
        cameras = balls.family.cameras(len(pairs), 12, generator)
        split = split_of(balls.family, 5, 3)
        truth = balls.family.render(split.shapes[pairs[:, 0]], split.palettes[pairs[:, 1]], cameras)[0]
        values = [
            psnr(balls.render(balls.shape_codes[s], balls.appearance_codes[p], cameras[i]).color, truth[i])
            for i, (s, p) in enumerate(pairs.tolist())
        ]
        assert figures[f"psnr_{name}"] == pytest.approx(sum(values) / len(values), abs=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(recipe: Path, one_and_two: OneAndTwo, logged: Logged) -> None:
    runs = one_and_two(recipe)
    losses = [torch.tensor([row["train/loss"] for row in logged(run)]) for run in runs]
    assert len(losses[0]) == 30
    torch.testing.assert_close(*losses, atol=1e-3, rtol=0)
    torch.testing.assert_close(*(ConditionalModel.load(run / "model").shape_codes for run in runs), atol=0.02, rtol=0)
