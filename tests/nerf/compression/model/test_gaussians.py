"""Posteriors in closed form, against what they are by definition."""

from __future__ import annotations

import math

import pytest
import torch

from nerf.compression.model.gaussians import (
    DiagonalGaussian,
    choose_component,
    explained_nats,
    posterior_from_observation,
    shift_log_beta,
)


def test_posteriors_move_as_those_of_noisy_observations() -> None:
    """The posterior of x + noise for a standard normal prior, at two levels of noise."""
    seen, noise = torch.tensor([0.3, -2.0, 1.0]), torch.tensor([0.5, 0.1, 2.0])
    prior = DiagonalGaussian(torch.zeros(3), torch.ones(3))
    change = torch.tensor([0.7, -1.2, 0.0])
    log_stds = [(noise * (shift / 2).exp()).log() for shift in (torch.zeros(3), change)]
    before, after = (posterior_from_observation(prior, seen, log_std) for log_std in log_stds)
    for one, other in zip(shift_log_beta(*before, change), after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_posterior_explains_what_a_sample_of_it_saves() -> None:
    """Squared error in units of beta of prior mean and of samples, by hand, where values are linear in the number."""
    seen, noise = torch.tensor(1.3, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    mean, log_std = posterior_from_observation(DiagonalGaussian(torch.zeros(()), torch.ones(())), seen, noise.log())
    weight = 1 / (2 * noise**2)  # of a squared error, in units of beta, so that the optimum has this noise
    samples = mean + log_std.exp() * torch.randn(400_000, generator=torch.Generator().manual_seed(0)).double()
    saved = weight * (seen**2 - (samples - seen).square().mean())
    assert float(explained_nats(mean, log_std)) == pytest.approx(float(saved), rel=0.01)


def test_what_samples_cannot_reach_counts_against_a_component() -> None:
    priors = DiagonalGaussian(torch.zeros(2, 1), torch.tensor([[0.1], [1.0]]))
    costs, seen = torch.tensor([0.0, 40.0]), (torch.tensor([[0.8], [0.2]]), torch.full((2, 1), math.log(0.05)))
    assert choose_component(priors, costs, *seen).tolist() == [0, 0]
    # Eight standard deviations of the narrow prior: of what is left of 0.64 beyond 0.4 the error is 11.5 nats.
    assert choose_component(priors, costs, *seen, 4.0).tolist() == [1, 0]
    assert choose_component(priors, costs + torch.tensor([0.0, 5.0]), *seen, 4.0).tolist() == [1, 0]
    assert choose_component(priors, costs + torch.tensor([0.0, 15.0]), *seen, 4.0).tolist() == [0, 0]
