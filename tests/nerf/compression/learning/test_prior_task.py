"""Prior learning: the linear start is what theory says, and the trainer's promises hold for the posteriors too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.compression.description import Description
from nerf.compression.learning.linear_start import principal_components, water_level
from nerf.compression.learning.posteriors import Posteriors
from nerf.compression.learning.prior_task import PriorTask
from nerf.compression.model.gaussians import DiagonalGaussian, aggregate_prior, divergence_bits

SMALL = Description(
    patch=(8, 8), latent=(2, 2), latent_channels=4, upsampler=(8, 4), factors=((2, 2), (2, 2)), frequencies=2,
    highest=4.0, width=8, layers=3, rank=6, budgets=(16.0, 32.0), candidate_bits=8, default_rate=0,
)  # fmt: skip
LAYERED = dataclasses.replace(SMALL, group=(2, 2), stitched=True, components=3)
CONFIG = TrainConfig(
    steps=24, batch_size=8, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99), save_every=8, log_every=1, cpu=True
)


def waves(count: int = 24, size: int = 8) -> Tensor:
    """Smooth coloured patterns, -0.5..0.5."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 3, 3, generator=generator) - 0.5
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=True)


def task_of(description: Description = SMALL, config: TrainConfig = CONFIG) -> PriorTask:
    torch.manual_seed(0)
    return PriorTask(description, waves(size=8 if description is SMALL else 24), config, round_steps=5)


def state(task: PriorTask) -> dict[str, Tensor]:
    return torch.nn.ModuleDict(dict(task.modules)).state_dict()


def test_divergence_is_that_of_torch() -> None:
    mean, log_std = torch.randn(5), torch.randn(5)
    prior = DiagonalGaussian(torch.randn(5), torch.rand(5) + 0.5)
    normal = torch.distributions.Normal
    nats = torch.distributions.kl_divergence(normal(mean, log_std.exp()), normal(prior.mean, prior.std))
    torch.testing.assert_close(divergence_bits(mean, log_std, prior), nats / torch.log(torch.tensor(2.0)))


def test_the_fitted_prior_is_nearest_to_its_posteriors() -> None:
    mean, log_std = torch.randn(40, 3), 0.3 * torch.randn(40, 3)

    def total(prior: DiagonalGaussian) -> Tensor:
        return divergence_bits(mean, log_std, prior).sum(0)

    count = torch.full((1, 1), 40.0)
    sums = [x.sum(0, keepdim=True) for x in (mean, mean.square(), (2 * log_std).exp())]
    best = aggregate_prior(count, *sums)
    best = DiagonalGaussian(best.mean[0], best.std[0])
    for mean_change, std_change in ((0.05, 1.0), (-0.05, 1.0), (0.0, 1.05), (0.0, 0.95)):
        assert (total(best) < total(DiagonalGaussian(best.mean + mean_change, best.std * std_change))).all()


def test_principal_components_draw_blocks_with_least_error() -> None:
    components, variances = principal_components(waves(), SMALL)
    torch.testing.assert_close(components @ components.T, torch.eye(4), atol=1e-5, rtol=0)
    assert (variances.diff() <= 0).all()
    blocks = waves().unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 48)
    torch.testing.assert_close((blocks @ components.T).square().mean(0), variances, rtol=1e-4, atol=1e-6)


def test_the_linear_start_has_the_information_that_was_asked_for() -> None:
    variances = torch.tensor([4.0, 1.0, 0.1, 0.001])
    beta = water_level(variances, 6.0)
    noise = beta / (2 * variances + beta)
    assert (-0.5 * noise.log2()).sum() == pytest.approx(6, abs=1e-3)
    task = task_of()
    fit(task, dataclasses.replace(CONFIG, steps=1))
    data, bits = task.priors.round
    bits = bits / data
    for rate, budget in enumerate(SMALL.budgets):
        assert float(bits[rate]) == pytest.approx(budget, rel=0.5)


def test_learning_lowers_the_loss_and_keeps_the_budget() -> None:
    config = dataclasses.replace(CONFIG, steps=200, learning_rate=1e-2)
    task = task_of(config=config)
    report = fit(task, config)
    losses = [loss for _, loss in report.losses]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])  # which begin at the best linear code
    task.finish_round()
    for bits, budget in zip(task.priors.spent.tolist(), SMALL.budgets, strict=True):
        assert 0.6 * budget < bits < 1.4 * budget


@pytest.mark.parametrize("description", [SMALL, LAYERED], ids=["single", "layered"])
def test_resumed_equals_uninterrupted(description: Description, tmp_path: Path) -> None:
    whole, parts = task_of(description), task_of(description)
    fit(whole, CONFIG)
    fit(parts, dataclasses.replace(CONFIG, steps=13), output_dir=tmp_path)
    parts = task_of(description)
    fit(parts, CONFIG, output_dir=tmp_path, resume=True)
    expected = state(whole)
    for name, value in state(parts).items():
        assert torch.equal(value, expected[name]), name


def test_only_visited_rows_move() -> None:
    posteriors = Posteriors(5, 3)
    index = torch.tensor([1, 4])
    for _ in range(3):
        leaf = posteriors.leaf(index, torch.device("cpu"))
        ((leaf[:, 0] - 1).square().sum() + leaf[:, 1].sum()).backward()
        assert leaf.grad is not None
        posteriors.update(index, leaf.grad, 0.1)
    assert (posteriors.table[[1, 4], 0] > 0.2).all()
    assert (posteriors.table[[1, 4], 1] < -0.2).all()
    assert (posteriors.table[[0, 2, 3]] == 0).all()
    assert posteriors.visits.tolist() == [0, 3, 0, 0, 3]


def test_only_the_trainers_hooks_change_a_tasks_state() -> None:
    """Drawing a batch, the loss and its backward pass change no prior and no posterior of a datum."""
    task = task_of()
    fit(task, dataclasses.replace(CONFIG, steps=4))
    kept = ("priors.mean", "priors.std", "priors.log_beta", "posteriors._extra_state")
    before = {name: value.clone() for name, value in state(task).items() if name in kept}
    assert len(before) == len(kept)
    draws = Draws(0, 5, range(8))
    batch = task.batch(draws)
    task.loss(task.modules, batch, draws)["loss"].backward()
    for name, value in before.items():
        assert torch.equal(state(task)[name], value), name
    task.after_backward(batch, draws)
    task.begin_step(task.modules, draws)  # a round of 5 steps ends
    for name, value in before.items():
        assert not torch.equal(state(task)[name], value), name


def test_every_datum_is_visited_once_in_an_epoch() -> None:
    task = task_of()
    rows = [int(row) for step in range(6) for row in task.batch(Draws(0, step, range(8))).rows]
    assert sorted(rows) == list(range(48))


def learned(folder: Path) -> None:
    """One of the processes: the first writes what all have learned."""
    trained = task_of()
    fit(trained, CONFIG)
    whole = state(trained)  # gathers rows: every process takes part
    if torch.distributed.get_rank() == 0:
        torch.save(whole, folder / "state.pt")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path, two_processes: Callable[..., None]) -> None:
    two_processes(learned, tmp_path)
    task = task_of()
    fit(task, CONFIG)
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    for name, value in state(task).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


def test_the_rates_must_divide_the_batch() -> None:
    with pytest.raises(ValueError, match="multiple of the 2 rates"):
        PriorTask(SMALL, waves(), dataclasses.replace(CONFIG, batch_size=9))
