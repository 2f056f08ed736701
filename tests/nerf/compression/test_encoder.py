"""Fitting and coding: what is coded stays, budgets hold, and samples cost what their information says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from nerf.compression.block_order import NEVER, BlockOrder
from nerf.compression.description import Description
from nerf.compression.encoder import CAPACITY_MARGIN, EncodeConfig, Encoder
from nerf.compression.files import compress
from nerf.compression.modalities.pictures import PictureCodec
from nerf.compression.model.codec import CodecModel, cut_blocks

CONFIG = EncodeConfig(steps=150, rounds=4, round_steps=8)


@pytest.fixture
def encoder(tiny: CodecModel, picture: Callable[..., Image.Image]) -> Encoder:
    pictures = [picture(32, 16), picture(16, 16).rotate(90)]
    values = [PictureCodec().to_datum(one).values for one in pictures]
    return Encoder(tiny, 1, values, math.inf, CONFIG)


def test_coded_numbers_do_not_change_any_more(encoder: Encoder) -> None:
    encoder._fit(20, lambda step: 1.0)
    queue = encoder._queue()
    encoder._code(queue[0])
    coded = encoder.samples[0].clone()
    frozen = (coded != 0) & ~encoder.free[0]
    assert frozen.any()
    encoder._fit(20, lambda step: 1.0)
    encoder._code(queue[1])
    assert torch.equal(encoder.samples[0][frozen], coded[frozen])


def test_no_block_has_much_more_information_than_an_index(encoder: Encoder, tiny: CodecModel) -> None:
    encoder._fit(300, lambda step: 1.0)
    information = encoder._gradients()
    assert (information < tiny.description.candidate_bits + CAPACITY_MARGIN + 1.5).float().mean() > 0.95
    assert encoder.block_log_beta.isfinite().all()


@pytest.mark.parametrize("budget", [1200.0, 1600.0])
def test_beta_is_found_before_the_first_step(
    tiny: CodecModel, picture: Callable[..., Image.Image], budget: float
) -> None:
    values = PictureCodec().to_datum(picture(64, 64)).values
    encoder = Encoder(tiny, 1, [values], budget, CONFIG)
    information = encoder._gradients()[encoder.planned]
    # Blocks are planned in steps, so that not all can be planned for.
    assert float(encoder.index_bits(information).sum()) == pytest.approx(encoder.budget, rel=0.1)
    coded = encoder.encode()[0]
    assert 0.9 * encoder.budget < sum(tiny.code.size(index) for index in coded.indices) <= encoder.budget


def test_indices_cost_about_what_the_information_says(encoder: Encoder, tiny: CodecModel) -> None:
    encoder._fit(300, lambda step: 1.0)
    information = encoder._gradients()
    bits = 0
    for key in encoder._queue():
        encoder._code(key)
    for datum in encoder.data:
        bits += sum(tiny.code.size(index) for index in datum.indices)
    # What a sample of information I needs is bounded by I + log2(I + 1) + 4 (arXiv 1701.02827, theorem 1).
    assert bits <= float((information + (information + 1).log2()).sum())


def test_decoder_finds_the_samples_of_the_encoder(encoder: Encoder, tiny: CodecModel) -> None:
    from nerf.compression.decoder import decode_latents

    coded = encoder.encode()
    for datum, mine in zip(encoder.data, coded, strict=True):
        prior = datum.order.priors[0]
        found = decode_latents(tiny, datum.order, mine.indices)[0]
        sample = prior.mean + prior.std * encoder.samples[0][datum.rows[0]]
        torch.testing.assert_close(found.float(), sample)


def test_fine_tuning_between_rounds_helps(picture: Callable[..., Image.Image]) -> None:
    originals = [picture(16, 16).rotate(45 * turn) for turn in range(8)]
    at_once = compress(originals, model="tiny", config=EncodeConfig(steps=150, rounds=1)).psnr
    in_rounds = compress(originals, model="tiny", config=EncodeConfig(steps=150, rounds=8, round_steps=10)).psnr
    assert in_rounds > at_once


def test_every_place_of_a_sequence_has_its_numbers(tiny: CodecModel) -> None:
    order = BlockOrder(tiny, 1, tiny.description.tiling((40, 24)), (0, 1, 1, 0, 3, 1))
    places = torch.cat([level.flatten() for level in order.places])
    sent = places[places < NEVER]
    assert sorted(set(sent.tolist())) == list(range(order.count))
    for block in order.blocks.values():
        for row in (0, len(block.rows) - 1):
            here = order.places[block.level] == block.first + row
            assert here.sum() == len(block.columns)
            assert here.any(0).nonzero()[:, 0].tolist() == block.columns.tolist()


def test_blocks_keep_within_their_budget_and_the_best_come_first() -> None:
    information = np.random.default_rng(0).exponential(1.0, 300)
    blocks = cut_blocks(information, 12.0)
    sums = [information[blocks == number].sum() for number in range(blocks.max() + 1)]
    assert max(sums) <= 12
    assert min(sums[:-1]) > 6
    densities = [information[blocks == number].mean() for number in range(blocks.max() + 1)]
    assert densities == sorted(densities, reverse=True)
    assert (information[blocks == -1] < 0.02).all()


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="rounds must be positive"):
        EncodeConfig(rounds=0)
    with pytest.raises(ValueError, match="steps must not be negative"):
        EncodeConfig(steps=-1)


def test_gradients_of_windows_are_those_of_the_whole(
    descriptions: dict[str, Description],
    untrained: Callable[[Description], CodecModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = untrained(descriptions["picture"])
    values = torch.rand(3, 45, 70, generator=torch.Generator().manual_seed(1)) - 0.5
    gradients = []
    for most in (512, 10):
        monkeypatch.setattr("nerf.compression.patches.MOST_STITCHED", most)
        monkeypatch.setattr("nerf.compression.windows.WINDOW", {2: 3})
        encoder = Encoder(model, 0, [values, values[:, :20]], math.inf, CONFIG)
        assert (len(encoder.parts) > 1) == (most == 10)
        encoder._gradients()
        gradients.append([mean.grad for mean in encoder.means])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
