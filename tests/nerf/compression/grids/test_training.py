"""Training: a few steps make the loss smaller, and another run can start from their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.compression.grids import train
from nerf.compression.grids.model import GridsModel
from nerf.compression.grids.network import GridsNetwork
from nerf.compression.grids.training import GridsRecipe, GridsTask
from nerf.compression.grids.whole_numbers import WEIGHT

RECIPE = GridsRecipe(
    crop=(64, 64), largest_shrink=1.0, fine_width=6, coarse_width=5, restoration_width=8,
    train=TrainConfig(steps=12, batch_size=2, learning_rate=5e-3, betas=(0.9, 0.99), log_every=4),
)  # fmt: skip


@pytest.fixture
def wholes(photo: Image.Image) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 255 - 0.5]


def test_a_few_steps_help(wholes: list[torch.Tensor]) -> None:
    torch.manual_seed(0)
    task = GridsTask(RECIPE, wholes, wholes)
    before = validated(task)
    fit(task, RECIPE.train)
    after = validated(task)
    assert after < 0.97 * before


def validated(task: GridsTask) -> float:
    with torch.no_grad():
        return float(task.validate(task.modules, 0)["loss"])  # pyright: ignore


def test_a_run_starts_from_an_earlier_one_and_writes_a_model(
    wholes: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "training_data", lambda name, folder, held_out: [] if held_out else wholes)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "crop: [64, 64]\nlargest_shrink: 1.0\nfine_width: 6\ncoarse_width: 5\nrestoration_width: 8\n"
        "train: {steps: 3, batch_size: 2, learning_rate: 1.0e-3}\n"
    )
    first = train.Arguments(recipe=str(recipe), data=tmp_path, output=tmp_path / "a")
    train.main(first)
    train.main(train.Arguments(recipe=str(recipe), data=tmp_path, output=tmp_path / "b", start_from=tmp_path / "a"))
    model = tmp_path / "a" / "model"
    train.main(train.Arguments(recipe=str(recipe), data=tmp_path, output=tmp_path / "c", start_from=model))
    name = "restoration.layers.1.weight"
    first_weights, *later = (GridsModel.load(tmp_path / run / "model").decoder[name] / 2**WEIGHT for run in "abc")
    torch.manual_seed(1)
    fresh = GridsNetwork(**RECIPE.widths).state_dict()[name].numpy()
    for weights in later:
        assert 0 < np.abs(weights - first_weights).max() < 0.02
    assert np.abs(fresh - first_weights).max() > 0.05
