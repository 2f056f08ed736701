"""Crops that never repeat: their sizes and ranges, and prior learning on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.compression.description import Description, Modality
from nerf.compression.learning.crops import Crops
from nerf.compression.learning.prior_task import PriorTask
from nerf.compression.train import finished_model

CONFIG = TrainConfig(
    steps=10, batch_size=2, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99), save_every=4, log_every=1, cpu=True
)
SHAPES: dict[Modality, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "picture": ((3, 40, 50), (16, 16)), "sound": ((1, 900), (256,)), "video": ((3, 9, 40, 32), (4, 16, 16)),
    "volume": ((1, 12, 13, 14), (8, 8, 8)),
}  # fmt: skip


def wholes(shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator) - 0.5 for _ in range(3)]


@pytest.mark.parametrize("modality", SHAPES)
def test_crops_have_their_shape_and_range_and_differ(modality: Modality) -> None:
    shape, crop = SHAPES[modality]
    crops = Crops(modality, wholes(shape), crop, largest_shrink=2.0)
    drawn = crops.sample(20)
    assert drawn.shape == (20, shape[0], *crop)
    assert drawn.abs().max() <= 0.5
    assert len({one.numpy().tobytes() for one in drawn}) > 15  # small wholes: a crop may come back
    torch.testing.assert_close(drawn, crops.sample(20))
    assert not torch.equal(drawn, crops.sample(20, seed=1))


def test_a_shrunk_crop_shows_more_of_the_whole() -> None:
    ramp = torch.linspace(-0.4, 0.4, 64).expand(1, 64, 64)
    spans = [float(c.amax() - c.amin()) for c in Crops("picture", [ramp], (16, 16), largest_shrink=4.0).sample(40)]
    assert min(spans) < 0.25
    assert max(spans) > 0.6
    flat = [float(c.amax() - c.amin()) for c in Crops("picture", [ramp], (16, 16)).sample(40)]
    assert max(flat) < 0.25


def test_data_smaller_than_a_crop_are_left_out() -> None:
    small, large = torch.zeros(3, 8, 8), torch.zeros(3, 20, 20)
    assert len(Crops("picture", [small, large], (16, 16)).wholes) == 1
    with pytest.raises(ValueError, match="none of 1 data"):
        Crops("picture", [small], (16, 16))


def test_volumes_are_dark_and_bright() -> None:
    dark = torch.full((1, 12, 12, 12), -0.5)
    means = Crops("volume", [dark], (8, 8, 8)).sample(60).mean(dim=(1, 2, 3, 4))
    assert 15 < int((means == -0.5).sum()) < 40  # as it is
    assert int((means == 0.5).sum()) > 2  # dark for bright
    assert int((means.abs() < 0.45).sum()) > 15


def test_stills_become_films_of_an_even_motion() -> None:
    slope = torch.linspace(-0.4, 0.4, 64).expand(3, 1, 64, 64)  # a shift of a pixel is one brightness everywhere
    films = Crops("video", [slope], (8, 16, 16)).sample(30, seed=3)
    assert films.shape == (30, 3, 8, 16, 16)
    across = films[:, 0].mean(dim=(2, 3)).diff(dim=1)
    inside = [one for film, one in zip(films[:, 0], across, strict=True) if film.abs().max() < 0.35]  # no mirrors
    assert len(inside) > 5
    assert max(float(one.std() / one.abs().max().clamp_min(1e-4)) for one in inside) < 0.3
    assert max(float(one.abs().max()) for one in inside) > 0.005
    assert min(float(one.abs().max()) for one in inside) < 0.005
    assert not torch.equal(films[0], films[1])


def task_of(description: Description) -> PriorTask:
    torch.manual_seed(0)
    crops = Crops("picture", wholes((3, 40, 50)), (16, 16), largest_shrink=2.0)
    return PriorTask(dataclasses.replace(description, budgets=(16.0, 32.0)), crops, CONFIG, round_steps=3)


def test_learning_from_crops_resumes_as_if_uninterrupted(descriptions: dict[str, Description], tmp_path: Path) -> None:
    whole, parts = task_of(descriptions["picture"]), task_of(descriptions["picture"])
    fit(whole, CONFIG)
    fit(parts, dataclasses.replace(CONFIG, steps=5), output_dir=tmp_path)
    parts = task_of(descriptions["picture"])
    fit(parts, CONFIG, output_dir=tmp_path, resume=True)
    assert "posteriors" not in whole.modules
    for name, module in whole.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.modules[name].state_dict()[key]), f"{name}.{key}"


def test_every_level_has_an_amortised_posterior(descriptions: dict[str, Description]) -> None:
    task = task_of(descriptions["picture"])
    fit(task, CONFIG)
    model = finished_model(task, Crops("picture", wholes((3, 40, 50)), (16, 16)))
    assert model.description.priors == [tuple(level.shape) for level in model.rates[0].blocks]
    assert all(head.weight.any() for head in task.amortiser.above)
