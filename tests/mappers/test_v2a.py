"""Mappers of embeddings: closed forms, and what they share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.normalization import normalize_rms
from mappers.registry import mapper_class
from mappers.v2a import EmbeddingMapper, IdentityMapper, LinearMapper, RegressionMapper


def tiny(name: str) -> EmbeddingMapper:
    torch.manual_seed(0)
    if name == "v2a-prior":
        return DiffusionPriorMapper(12, 12, depth=2, heads=2, head_width=8, null_tokens=3)
    return mapper_class(name)(12, 12)  # pyright: ignore


NAMES = ("v2a-identity", "v2a-linear", "v2a-regression", "v2a-prior")


@pytest.mark.parametrize("name", NAMES)
def test_answers_have_unit_length_and_the_input_s_length_changes_nothing(name: str) -> None:
    mapper = tiny(name).eval()
    condition = torch.randn(5, 12)
    once = mapper.translate(condition, generator=torch.Generator().manual_seed(1))
    thrice = mapper.translate(3 * condition, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(once.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(once, thrice, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_mapper_comes_back_whole(name: str, tmp_path: Path) -> None:
    mapper = tiny(name).eval()
    mapper.save_pretrained(tmp_path)
    again = type(mapper).from_pretrained(tmp_path).eval()
    condition = torch.randn(3, 12)
    assert torch.equal(
        mapper.translate(condition, generator=torch.Generator().manual_seed(2)),
        again.translate(condition, generator=torch.Generator().manual_seed(2)),
    )


@pytest.mark.parametrize("name", NAMES)
def test_another_width_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="width 12, got 13"):
        tiny(name).translate(torch.randn(1, 13))


def test_published_size_of_the_regression_mapper() -> None:
    assert sum(p.numel() for p in RegressionMapper(512, 512).parameters()) == 2_103_808


def test_linear_fit_finds_a_linear_map_and_equals_the_normal_equations() -> None:
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(400, 6, generator=generator)
    target = torch.randn(400, 4, generator=generator)
    mapper = LinearMapper(6, 4)
    mapper.fit(condition, target, ridge=0.3)
    x = torch.cat([normalize_rms(condition), torch.ones(400, 1)], 1).double()
    penalty = 0.3 * 400 * torch.diag(torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64))
    expected = torch.linalg.solve(x.T @ x + penalty, x.T @ normalize_rms(target).double())
    torch.testing.assert_close(mapper.linear.weight.double(), expected[:6].T, atol=1e-6, rtol=0)
    torch.testing.assert_close(mapper.linear.bias.double(), expected[6], atol=1e-6, rtol=0)


def test_identity_keeps_the_direction_and_wants_equal_widths() -> None:
    condition = torch.randn(4, 12)
    torch.testing.assert_close(IdentityMapper(12, 12).translate(condition), F.normalize(condition, dim=1))
    with pytest.raises(ValueError, match="12 and 13"):
        IdentityMapper(12, 13)


@pytest.mark.parametrize("bad", [torch.zeros(2, 12), torch.full((2, 12), float("nan"))])
def test_an_embedding_without_direction_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="zero or not finite"):
        tiny("v2a-regression").translate(bad)


def test_settings_of_sampling_are_refused_where_nothing_is_sampled() -> None:
    with pytest.raises(ValueError, match="for generative mappers"):
        tiny("v2a-regression").translate(torch.randn(1, 12), guidance_scale=2.0)


def test_a_mapper_of_other_models_is_refused_even_at_equal_width() -> None:
    mapper = RegressionMapper(12, 12, source_space="clip-a", target_space="clap-a")
    mapper.check_spaces("clip-a", "clap-a")
    with pytest.raises(ValueError, match="target model clap-a, but the one in use is clap-b"):
        mapper.check_spaces("clip-a", "clap-b")
    RegressionMapper(12, 12).check_spaces("any", "any")


def test_training_starts_at_the_loss_of_the_mean_and_gradients_reach_every_weight() -> None:
    mapper = tiny("v2a-regression")
    from mappers.training.draws import Draws

    loss = mapper.loss(mapper, torch.randn(64, 12), torch.randn(64, 12), Draws(0, 0, range(64)))
    loss.backward()
    # Targets have a mean square of one; a fresh network adds its own small outputs to that.
    assert 0.9 < loss.item() < 1.6
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in nn.Module.parameters(mapper))
