"""Mixes of two words, and envelopes over timesteps and layers."""

from __future__ import annotations

import pytest
import torch

from mappers.mixing import MixedMapper
from mappers.neti import Envelope, NeTIMapper, TextualInversionMapper

TIMES = torch.tensor([0.0, 300.0, 600.0, 999.0]).repeat_interleave(4)
LAYERS = torch.arange(4).repeat(4)


def mappers() -> tuple[NeTIMapper, NeTIMapper]:
    return NeTIMapper(4, 8, 3.0, seed=1).eval(), NeTIMapper(4, 8, 2.0, seed=2).eval()


def test_each_point_is_answered_by_the_mapper_whose_turn_it_is() -> None:
    first, second = mappers()
    mixed = MixedMapper.of(first, second, layers=[1, 3], times=(200, 700))
    ours, a, b = (m(TIMES, LAYERS, truncation=60) for m in (mixed, first, second))
    turn = torch.isin(LAYERS, torch.tensor([1, 3])) & (TIMES > 200) & (TIMES < 700)
    assert 0 < turn.sum() < len(turn)
    for part in range(2):
        assert torch.equal(ours[part][turn], b[part][turn])
        assert torch.equal(ours[part][~turn], a[part][~turn])


def test_a_word_without_bypass_mixes_as_one_with_a_zero_bypass() -> None:
    plain = TextualInversionMapper(4, 8, 2.0).eval()
    first, _ = mappers()
    ours = MixedMapper.of(first, plain, layers=[0])(TIMES, LAYERS)
    assert ours.bypass is not None
    assert not ours.bypass[LAYERS == 0].any()
    assert torch.equal(ours.embedding[LAYERS == 0], plain.vectors.expand(4, -1))
    assert MixedMapper.of(plain, plain, layers=[0])(TIMES, LAYERS).bypass is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give layers or times"),
        ({"layers": range(4)}, "give layers or times"),
        ({"layers": [4]}, r"layers must name some of the layers 0\.\.3"),
        ({"layers": []}, "layers must name some"),
        ({"times": (700, 200)}, "times must be a lowest and a highest"),
        ({"times": (0, 1000)}, "times must be a lowest and a highest"),
    ],
)
def test_mixes_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedMapper.of(*mappers(), **options)


def test_envelope_is_linear_in_time_and_scaled_by_layer() -> None:
    envelope = Envelope(times={1: 100, 501: 50, 901: 10}, layers={2: 0.5, 3: 0.0})
    times = torch.tensor([0.0, 251.0, 701.0, 999.0, 251.0, 251.0])
    layers = torch.tensor([0, 0, 1, 0, 2, 3])
    assert envelope.units(times, layers, 128).tolist() == [100, 75, 30, 10, 38, 0]
    assert envelope.units(times, layers, 64).tolist() == [64, 64, 30, 10, 32, 0]
    assert Envelope().units(times, layers, 128).tolist() == [128] * 6


def test_one_number_of_units_a_row_equals_separate_calls() -> None:
    mapper, _ = mappers()
    kept = torch.randint(0, 129, (16,), generator=torch.Generator().manual_seed(0))
    together = mapper(TIMES, LAYERS, truncation=kept).embedding
    for i, k in enumerate(kept.tolist()):
        single = mapper(TIMES[i : i + 1], LAYERS[i : i + 1], truncation=k).embedding[0]
        torch.testing.assert_close(together[i], single)
    with pytest.raises(ValueError, match=r"truncation must be in 0\.\.128"):
        mapper(TIMES, LAYERS, truncation=kept + 10)


@pytest.mark.parametrize("wrong", [{"times": {1000: 5}}, {"times": {5: -1}}, {"layers": {0: 1.5}}, {"layers": {-1: 1}}])
def test_impossible_envelopes(wrong: dict) -> None:
    with pytest.raises(ValueError, match="an envelope has units"):
        Envelope(**wrong)
