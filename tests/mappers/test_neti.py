"""The space-time mapper against the paper's closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mappers.neti import ANCHOR_TIMES, NeTIMapper, SpaceTimeEncoding, TextualInversionMapper, nested_dropout
from mappers.registry import mapper_class, mapper_name, register_mapper
from mappers.training.draws import Draws


def points(*pairs: tuple[float, int]) -> tuple[Tensor, Tensor]:
    return torch.tensor([t for t, _ in pairs]), torch.tensor([layer for _, layer in pairs])


def test_encoding_is_the_gaussian_kernel_of_its_bandwidths() -> None:
    encoding = SpaceTimeEncoding(200_000)
    base = encoding(*points((500.0, 3)))
    for dt, dl in ((0, 0), (20, 0), (50, 0), (100, 0), (0, 1), (10, 1)):
        other = encoding(*points((500.0 + dt, 3 + dl)))
        expected = math.exp(-((0.03 * dt) ** 2) / 2) * math.exp(-((2 * dl) ** 2) / 2)
        assert (base * other).sum().item() == pytest.approx(expected, abs=0.01)


def test_encoding_has_unit_length_and_stays_fp32_under_autocast() -> None:
    encoding = SpaceTimeEncoding()
    where = points((999.0, 15), (0.5, 0))
    exact = encoding(*where)
    torch.testing.assert_close(exact.norm(dim=1), torch.ones(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoding(*where), exact)


def test_published_size() -> None:
    assert count(NeTIMapper(16, 768, 0.4)) == 563_616
    assert count(NeTIMapper(16, 768, 0.4, bypass=False)) == 464_544


def count(mapper: nn.Module) -> int:
    return sum(p.numel() for p in mapper.parameters())


def test_anchor_rows_are_encodings_time_outer_layer_inner() -> None:
    mapper = NeTIMapper(5, 8, 1.0)
    row = 3 * 5 + 2
    expected = mapper.encoding(*points((float(ANCHOR_TIMES[3]), 2)))[0]
    torch.testing.assert_close(mapper.anchors.weight[row], expected)
    assert mapper.anchors.weight.requires_grad


@pytest.mark.parametrize("positional_encoding", [True, False])
def test_the_norm_is_that_of_both_halves_together(positional_encoding: bool) -> None:
    mapper = NeTIMapper(4, 16, 0.7, positional_encoding=positional_encoding).eval()
    word = mapper(*points((10.0, 0), (990.0, 3)))
    assert word.bypass is not None
    joint = torch.cat([word.embedding, word.bypass], dim=1).norm(dim=1)
    torch.testing.assert_close(joint, torch.full((2,), 0.7))
    assert (word.embedding.norm(dim=1) < 0.7).all()


def test_starts_exactly_at_the_category() -> None:
    embedding = torch.randn(16)
    mapper = NeTIMapper(4, 16, float(embedding.norm()))
    mapper.start_at(embedding)
    word = mapper(*points((10.0, 0), (990.0, 3)))
    torch.testing.assert_close(word.embedding, embedding.expand(2, -1))
    assert not word.bypass.any()


def test_truncation() -> None:
    mapper = NeTIMapper(4, 16, 0.7).eval()
    where = points((10.0, 0), (500.0, 2), (990.0, 3))
    full = mapper(*where)
    assert torch.equal(mapper(*where, truncation=128).embedding, full.embedding)
    constant = mapper(*where, truncation=0).embedding
    torch.testing.assert_close(constant, constant[:1].expand(3, -1))
    assert not torch.allclose(full.embedding, constant)
    with pytest.raises(ValueError, match=r"truncation must be in 0\.\.128, got 300"):
        mapper(*where, truncation=300)
    mapper.train()
    assert torch.equal(mapper(*where, truncation=0).embedding, mapper(*where).embedding)


def test_dropped_units_are_nested() -> None:
    hidden = torch.ones(1, 8)
    kept = [set(nested_dropout(hidden, k).nonzero()[:, 1].tolist()) for k in range(9)]
    assert kept == [set(range(k)) for k in range(9)]


def test_one_coin_per_layer_one_cut_per_row() -> None:
    mapper = NeTIMapper(400, 2, 1.0)
    kept = mapper.draw_kept_units(Draws(0, 0, range(6)))
    assert kept.shape == (6, 400)
    whole = (kept == 128).float().mean(0)
    assert set(whole.tolist()) <= {0.0, 1.0}
    assert whole.mean().item() == pytest.approx(0.5, abs=0.08)
    cut = kept[:, whole == 0]
    assert 0 <= cut.min()
    assert cut.max() <= 127
    assert (cut[0] != cut[1]).float().mean() > 0.9


@pytest.mark.parametrize(
    "mapper",
    [NeTIMapper(3, 4, 1.0), TextualInversionMapper(3, 4, 1.0), TextualInversionMapper(3, 4, 1.0, per_layer=True)],
)
def test_every_parameter_of_every_mapper_gets_a_gradient(mapper: nn.Module) -> None:
    word = mapper(*points((10.0, 0), (500.0, 2)))
    total = (word.embedding * torch.arange(4.0)).sum()
    if word.bypass is not None:
        total = total + (word.bypass * torch.arange(4.0)).sum()
    total.backward()
    assert all(p.grad is not None and p.grad.any() for p in mapper.parameters())


def test_seeds_and_batching() -> None:
    a, b, c = NeTIMapper(3, 4, 1.0), NeTIMapper(3, 4, 1.0), NeTIMapper(3, 4, 1.0, seed=1)
    where = points((10.0, 0), (500.0, 2))
    assert torch.equal(a(*where).embedding, b(*where).embedding)
    assert not torch.equal(a(*where).embedding, c(*where).embedding)
    single = torch.cat([a(*points(pair)).embedding for pair in ((10.0, 0), (500.0, 2))])
    torch.testing.assert_close(a(*where).embedding, single)


def test_registry() -> None:
    assert mapper_class("neti") is NeTIMapper
    assert mapper_name(TextualInversionMapper(1, 2, 1.0)) == "textual-inversion"
    with pytest.raises(ValueError, match=r"unknown mapper 'nope'; known are .*neti, sites, textual-inversion"):
        mapper_class("nope")
    with pytest.raises(ValueError, match="'neti' exists already"):
        register_mapper("neti", nn.Linear)
