"""The generative mapper: published size, causality, guidance, and a distribution it has to cover."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler
from torch.nn import functional as F

from mappers.diffusion_prior import MAX_DISTANCE, DiffusionPriorMapper, PositionBias, prior_scheduler
from mappers.pairs import Pairs, PairTask
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from mappers.v2a import RegressionMapper


def small(**settings: float) -> DiffusionPriorMapper:
    torch.manual_seed(0)
    return DiffusionPriorMapper(16, 16, depth=2, heads=2, head_width=8, null_tokens=3, **settings).eval()  # pyright: ignore


def test_published_size() -> None:
    with torch.device("meta"):
        mapper = DiffusionPriorMapper(512, 512)
    assert sum(p.numel() for p in mapper.parameters()) == 48_832_896


def test_position_bias_is_causal_with_one_bucket_for_each_near_distance() -> None:
    bias = PositionBias(3)
    table = bias.table.weight
    out = bias(40)
    assert out.shape == (3, 40, 41)
    for query, key in ((0, -1), (5, 5), (5, 0), (15, 0), (39, -1)):
        distance = query - key
        exact = 16
        wide = (
            exact + int(math.log(max(distance, 1) / exact) / math.log(MAX_DISTANCE / exact) * exact) if distance else 0
        )
        bucket = distance if distance < exact else min(wide, 31)
        torch.testing.assert_close(out[:, query, key + 1], table[bucket])
    assert (out[:, 3, 5:] == float("-inf")).all()
    assert torch.isfinite(out[:, 3, :5]).all()


def test_the_answer_depends_on_condition_time_and_target_unless_they_are_dropped() -> None:
    mapper = small()
    noisy, condition, time = torch.randn(1, 16), torch.randn(1, 16), torch.tensor([400])
    base = mapper(noisy, time, condition)
    no = torch.zeros(1, dtype=torch.bool)
    assert not torch.allclose(mapper(noisy.flip(1), time, condition), base)
    assert not torch.allclose(mapper(noisy, time + 100, condition), base)
    assert not torch.allclose(mapper(noisy, time, condition.flip(1)), base)
    without = mapper(noisy, time, condition, with_condition=no)
    assert torch.equal(without, mapper(noisy, time, condition.flip(1), with_condition=no))
    blind = mapper(noisy, time, condition, with_target=no)
    assert torch.equal(blind, mapper(noisy.flip(1), time, condition, with_target=no))


def test_a_perfect_loss_is_zero_and_every_weight_is_trained() -> None:
    mapper = small(drop=0.5)
    condition, target = torch.randn(64, 16), torch.randn(64, 16)
    draws = Draws(0, 0, range(64))
    clean = F.normalize(target, dim=1) * 4
    assert mapper.loss(lambda *a, **k: clean, condition, target, draws).item() == pytest.approx(0, abs=1e-10)
    mapper.loss(mapper, condition, target, draws).backward()
    assert [name for name, p in mapper.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_guidance_one_is_a_single_pass_and_guidance_needs_dropped_conditions() -> None:
    condition = torch.randn(3, 16)
    mapper = small()
    seeds = [torch.Generator().manual_seed(i) for i in range(3)]
    plain = mapper.translate(condition, generator=torch.Generator().manual_seed(0), num_inference_steps=4)
    one = mapper.translate(
        condition, generator=torch.Generator().manual_seed(0), num_inference_steps=4, guidance_scale=1.0
    )
    assert torch.equal(plain, one)
    guided = mapper.translate(condition, generator=seeds, num_inference_steps=4, guidance_scale=3.0)
    alone = mapper.translate(
        condition[1:2], generator=[torch.Generator().manual_seed(1)], num_inference_steps=4, guidance_scale=3.0
    )
    torch.testing.assert_close(guided[1:2], alone, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="dropped conditions"):
        small(drop=0.0).translate(condition, guidance_scale=2.0)


def test_schedulers_that_would_spoil_embeddings_are_refused() -> None:
    with pytest.raises(ValueError, match="clip_sample"):
        small().translate(torch.randn(1, 16), scheduler=DDIMScheduler())
    noise = DDIMScheduler(clip_sample=False)
    with pytest.raises(ValueError, match="prediction_type='epsilon'"):
        small().translate(torch.randn(1, 16), scheduler=noise)
    assert prior_scheduler().alphas_cumprod[-1] > 0


def test_two_modes_are_both_drawn_where_regression_falls_between_them() -> None:
    """Section 5 of the dossier: classes with two kinds of target each."""
    generator = torch.Generator().manual_seed(3)
    condition = F.normalize(torch.randn(6, 16, generator=generator), dim=1)
    target = F.normalize(torch.randn(12, 16, generator=generator), dim=1)
    names = [str(i) for i in range(6)]
    pairs = Pairs.by_name(condition, names, target, names * 2)
    config = TrainConfig(
        steps=350, batch_size=64, learning_rate=3e-3, schedule="cosine", warmup_steps=20, weight_decay=0.0,
        save_every=None,
    )  # fmt: skip
    torch.manual_seed(0)
    prior = DiffusionPriorMapper(16, 16, depth=2, heads=2, head_width=16, null_tokens=1)
    fit(PairTask(prior, pairs, batch_size=64), config)
    drawn = prior.eval().translate(
        condition.repeat(16, 1), generator=torch.Generator().manual_seed(5), num_inference_steps=20
    )
    cosine = torch.einsum("kcd,mcd->kcm", drawn.view(16, 6, 16), target.view(2, 6, 16))
    assert cosine.amax(2).mean() > 0.97
    chosen = cosine.argmax(2)
    assert ((chosen == 0).any(0) & (chosen == 1).any(0)).all()

    regression = RegressionMapper(16, 16)
    fit(PairTask(regression, pairs, batch_size=64), config)
    between = regression.eval().translate(condition)
    nearest = torch.einsum("cd,mcd->cm", between, target.view(2, 6, 16)).amax(1)
    middle = F.normalize(target.view(2, 6, 16).mean(0), dim=1)
    assert nearest.mean() < 0.9
    assert (between * middle).sum(1).mean() > 0.97
