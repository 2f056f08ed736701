"""Decoding in whole numbers: exact whatever computes it, and close to the networks that were trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nerf.compression.grids.contexts import ContextNetwork
from nerf.compression.grids.exact import ExactModel, Stage
from nerf.compression.grids.levels import CHANNELS
from nerf.compression.grids.model import GridsModel
from nerf.compression.grids.network import step_plane
from nerf.compression.grids.whole_numbers import Convolution, convolved

STEP = 150


def levels(batch: int = 2, rows: int = 3, columns: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients, mostly small."""
    generator = torch.Generator().manual_seed(0)

    def drawn(channels: int, scale: int) -> torch.Tensor:
        normal = torch.randn(batch, channels, scale * rows, scale * columns, generator=generator)
        return (normal * torch.linspace(3, 0.2, channels)[:, None, None]).round().double()

    return drawn(CHANNELS[0], 1), drawn(CHANNELS[1], 4)


def numbers(stages: list[Stage]) -> np.ndarray:
    return np.concatenate([part.flatten().numpy() for stage in stages for part in (stage.row, stage.centre)])


def test_threads_and_batches_change_nothing(exact: ExactModel) -> None:
    coarse, fine = levels()
    whole = list(exact.stages(coarse, fine, STEP))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        np.testing.assert_array_equal(numbers(list(exact.stages(coarse, fine, STEP))), numbers(whole))
        assert torch.equal(exact.pixels(coarse[:1], fine[:1], STEP), exact.pixels(coarse, fine, STEP)[:1])
    finally:
        torch.set_num_threads(threads)
    for one, both in zip(exact.stages(coarse[1:], fine[1:], STEP), whole, strict=True):
        assert torch.equal(one.row[0], both.row[1])
        assert torch.equal(one.centre[0], both.centre[1])


def test_integers_of_64_bits_give_the_same(exact: ExactModel, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse, fine = levels()
    stages, pixels = numbers(list(exact.stages(coarse, fine, STEP))), exact.pixels(coarse, fine, STEP)
    products = 0

    def exactly(self: Convolution, columns: torch.Tensor) -> torch.Tensor:
        nonlocal products
        products += 1
        weight, values = self.weight.long().numpy(), columns.long().numpy()
        return torch.from_numpy(weight @ values + self.bias.long().numpy()[:, None]).double()

    monkeypatch.setattr(Convolution, "__call__", exactly)
    np.testing.assert_array_equal(numbers(list(exact.stages(coarse, fine, STEP))), stages)
    assert products == 26 * 3 + 13
    planes = torch.randint(-(2**14), 2**14, (1, 8, 5, 6)).double()
    layer = exact.restoration[1]
    patches = torch.nn.functional.unfold(torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="replicate"), 3)
    assert torch.equal(convolved(planes, layer).flatten(2), exactly(layer, patches))
    assert pixels.min() >= 0
    assert pixels.max() <= 255


def test_distributions_are_those_of_the_network(exact: ExactModel, grids_model: GridsModel) -> None:
    coarse, fine = levels()
    network, step = grids_model.network, torch.tensor(2 * [float(grids_model.steps[STEP])])
    surround = network.surround(coarse.float())
    for stage in exact.stages(coarse, fine, STEP):
        level, nets = (fine, network.fine_contexts) if stage.fine else (coarse, network.coarse_contexts)
        net = next(n for n in nets if isinstance(n, ContextNetwork) and n.known == stage.channels.start)
        extra = surround if stage.fine else coarse.float()[:, :0]
        phase = int(stage.places[0] != 0)
        mean, log = net(level.float(), extra, step_plane(step), phase)
        found = stage.centre + (stage.row % 16 - 8) / 16
        assert float((found - mean.flatten(2)[..., stage.places]).abs().max()) < 0.06
        found = (torch.div(stage.row, 16, rounding_mode="floor") - 40) / 8
        assert float((found - log.flatten(2)[..., stage.places]).abs().max()) < 0.1


def test_pixels_are_those_of_the_network(exact: ExactModel, grids_model: GridsModel) -> None:
    coarse, fine = levels()
    found = exact.pixels(coarse, fine, STEP)
    assert float((found - grids_model.drawn(coarse, fine, STEP)).abs().max()) <= 1


def test_weights_that_could_overflow_are_refused(grids_model: GridsModel) -> None:
    decoder = dict(grids_model.decoder)
    decoder["coarse.synthesis"] = np.full_like(decoder["coarse.synthesis"], 2**30)
    with pytest.raises(ValueError, match="too large for exact sums"):
        ExactModel(GridsModel(grids_model.config, decoder, grids_model.encoder))
