"""Patches with a hierarchy: stitched encodings, shared levels and permutations, on an untrained model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nerf.compression.block_order import BlockOrder
from nerf.compression.decoder import decode_latents, needed_rows, synthesize
from nerf.compression.description import Description
from nerf.compression.encoder import EncodeConfig, Encoder
from nerf.compression.model.amortiser import Amortiser
from nerf.compression.model.codec import CodecModel
from nerf.compression.model.network import Representation, fourier_features, split, stitch
from nerf.compression.model.priors import Priors

SHAPES = {"picture": (20, 37), "sound": (200,), "video": (5, 17, 9), "volume": (9, 6, 5)}
Descriptions = dict[str, Description]
Maker = Callable[[Description], CodecModel]


@pytest.mark.parametrize(("grid", "patch"), [((3, 2), (4, 5)), ((4,), (7,)), ((2, 3, 2), (2, 3, 4))])
def test_splitting_undoes_stitching(grid: tuple[int, ...], patch: tuple[int, ...]) -> None:
    tiles = torch.randn(math.prod(grid), 3, *patch)
    whole = stitch(tiles[None], grid)[0]
    assert whole.shape == (3, *(count * side for count, side in zip(grid, patch, strict=True)))
    assert torch.equal(split(whole[None], grid)[0], tiles)
    assert torch.equal(whole[(slice(None), *(slice(side) for side in patch))], tiles[0])
    assert torch.equal(whole[..., -patch[-1] :][(slice(None), *(slice(-side, None) for side in patch))], tiles[-1])


@pytest.mark.parametrize("name", SHAPES)
def test_every_kind_of_data_goes_through_encoder_and_decoder(
    name: str, descriptions: Descriptions, untrained: Maker
) -> None:
    description, dims = descriptions[name], SHAPES[name]
    model = untrained(description)
    values = torch.rand(description.channels, *dims, generator=torch.Generator().manual_seed(1)) - 0.5
    encoder = Encoder(model, 0, [values, values[:, ::2]], math.inf, EncodeConfig(steps=5, rounds=3, round_steps=2))
    for datum, coded, given in zip(encoder.data, encoder.encode(), (values, values[:, ::2]), strict=True):
        assert len(coded.indices) == datum.order.count
        found = decode_latents(model, datum.order, coded.indices)
        for level, (prior, mine) in enumerate(zip(datum.order.priors, found, strict=True)):
            sample = prior.mean + prior.std * encoder.samples[level][datum.rows[level]]
            torch.testing.assert_close(mine.float(), sample)
        assert synthesize(model, datum.order.tiling, found).shape == given.shape


def test_a_model_keeps_its_transform_in_bytes(descriptions: Descriptions) -> None:
    description = descriptions["picture"]
    network = Representation(description)
    network.transform.scale.copy_(torch.logspace(-3, 1, description.latent_channels))
    model = CodecModel.trained(description, network, Amortiser(description), Priors(description))
    assert model.tensors["network.transform.basis"].dtype == np.int8
    exact, rounded = network.transform.weight.flatten(1), model.network.transform.weight.flatten(1)
    assert ((rounded - exact).abs().amax(1) <= exact.abs().amax(1) / 253).all()


def test_levels_above_reach_the_patches_below_them(descriptions: Descriptions, untrained: Maker) -> None:
    model = untrained(descriptions["picture"])
    tiling = descriptions["picture"].tiling((32, 32))
    assert tiling.rows == [16, 4, 1]
    zeros = [
        torch.zeros(rows, columns) for rows, columns in zip(tiling.rows, descriptions["picture"].columns, strict=True)
    ]
    before = synthesize(model, tiling, zeros)
    group = [level.clone() for level in zeros]
    group[1][1] = 1.0  # the upper right one
    changed = (synthesize(model, tiling, group) != before).any(0)
    assert changed[:16, 16:].any()
    assert not changed[16:].any()
    assert not changed[:, :16].any()
    whole = [level.clone() for level in zeros]
    whole[2][0] = 1.0
    assert (synthesize(model, tiling, whole) != before).any(0).float().mean() > 0.9


def test_stitched_encodings_join_over_seams(descriptions: Descriptions, untrained: Maker) -> None:
    tiling = descriptions["picture"].tiling((8, 16))
    for stitched in (True, False):
        model = untrained(dataclasses.replace(descriptions["picture"], stitched=stitched))
        generator = torch.Generator().manual_seed(0)
        start = [
            torch.randn(rows, columns, generator=generator)
            for rows, columns in zip(tiling.rows, descriptions["picture"].columns, strict=True)
        ]
        other = [level.clone() for level in start]
        other[0][1, -16:] += 1.0  # positional encoding of the right patch
        changed = (synthesize(model, tiling, other) != synthesize(model, tiling, start)).any(0)
        assert changed[:, 8:].any()
        assert bool(changed[:, :8].any()) == stitched


def test_permutations_mix_patches_in_a_block(descriptions: Descriptions, untrained: Maker) -> None:
    model = untrained(descriptions["picture"])
    order = BlockOrder(model, 0, descriptions["picture"].tiling((32, 32)), (0, 2) * 8)
    block, other = [b for b in order.blocks.values() if b.level == 0][:2]
    assert (block.component, other.component) == (0, 2)
    assert set(block.rows.flatten().tolist()) == set(range(0, 16, 2))
    assert any(len(set(row.tolist())) > 1 for row in block.rows)
    levels = [block.level for block in order.blocks.values()]
    assert levels == sorted(levels, reverse=True)


def test_fourier_features_are_of_pixel_centres(descriptions: Descriptions) -> None:
    features = fourier_features(descriptions["picture"])
    assert features.shape == (8, 64)
    x = -1 + 2 * (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(features[2].view(8, 8)[0], (math.pi * x).cos())
    torch.testing.assert_close(features[0].view(8, 8)[:, 0], (math.pi * x).cos())
    torch.testing.assert_close(features[5].view(8, 8)[:, 3], (4 * math.pi * x).sin())


def test_descriptions_that_contradict_themselves_are_refused(descriptions: Descriptions) -> None:
    for change, message in (
        ({"patch": (8, 9)}, "a patch has 9"),
        ({"latent": (2,)}, "same 1 to 3 axes"),
        ({"upsampler": (8,)}, "as many upsampler channels"),
        ({"budgets": (2.0, 1.0)}, "positive and rise"),
        ({"candidate_bits": 0}, "candidate_bits must be"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(descriptions["picture"], **change)


def test_windows_with_their_halo_draw_what_the_whole_draws(
    descriptions: Descriptions, untrained: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerf.compression.windows.WINDOW", {1: 3, 2: 2, 3: 2})
    for name, dims in {"picture": (45, 37), "sound": (900,), "volume": (17, 9, 13)}.items():
        model = untrained(dataclasses.replace(descriptions[name], stitched=True))
        tiling = model.description.tiling(dims)
        generator = torch.Generator().manual_seed(2)
        levels = [
            torch.randn(rows, columns, generator=generator)
            for rows, columns in zip(tiling.rows, model.description.columns, strict=True)
        ]
        parents = [torch.tensor(parent) for parent in tiling.parents()]
        with torch.no_grad():
            tiles = model.network(levels, parents, [tiling.grid])
        whole = stitch(tiles.unflatten(2, model.description.patch)[None], tiling.grid)[0]
        drawn = synthesize(model, tiling, levels)
        torch.testing.assert_close(drawn.float(), whole[(slice(None), *map(slice, dims))], atol=1e-4, rtol=1e-4)
        box = tuple((size // 4, size - size // 3) for size in dims)
        part = synthesize(model, tiling, levels, box=box)
        assert torch.equal(part, drawn[(slice(None), *(slice(first, last) for first, last in box))])


def test_a_small_box_needs_few_rows(descriptions: Descriptions, untrained: Maker) -> None:
    model = untrained(descriptions["picture"])
    rows = needed_rows(model, model.description.tiling((256, 256)), ((70, 80), (0, 10)))
    assert [int(level.sum()) for level in rows] == [90, 30, 1]
