"""What indices cost compared with coded ones, rate plans compared with a brute-force search, and roots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nerf.compression.coding.rate_control import (
    RatePlan,
    UncodedLatents,
    decreasing_root,
    expected_index_bits,
    plan_rate,
)
from nerf.compression.coding.relative_entropy import choose
from nerf.compression.model.codec import load_model


@pytest.mark.parametrize("bits", [0.0, 4.0, 8.0, 13.0])
def test_costs_of_indices_are_about_those_of_coded_blocks(bits: float) -> None:
    model = load_model("photos")
    numbers, candidate_bits = 8, model.description.candidate_bits
    std = math.exp(-0.8 * bits * math.log(2) / numbers)
    shift = math.sqrt(max(0.0, 2 * (bits * math.log(2) / numbers + math.log(std)) - std**2 + 1))
    generator, gumbels = torch.Generator().manual_seed(0), np.random.default_rng(0)
    sizes = []
    for _ in range(8):
        normals = torch.randn(1 << candidate_bits, numbers, generator=generator)
        mean = (torch.randint(2, (8, numbers), generator=generator) * 2.0 - 1) * shift
        sizes += map(model.code.size, choose(normals, mean, torch.full_like(mean, std), gumbels).tolist())
    expected = float(expected_index_bits(model.code, candidate_bits)(torch.tensor(bits)))
    assert np.mean(sizes) == pytest.approx(expected, abs=1.2)


PLACES, DATA = 7, [slice(0, 4), slice(4, 7)]
CHANGES = [step / 200 for step in range(-400, 2001)]
"""Of log beta: all that the brute-force search tries."""


def index_bits(information: Tensor) -> Tensor:
    """What an index costs, as a simple formula."""
    return 1.5 + 0.9 * information


def by_hand(latents: UncodedLatents, change: float) -> tuple[list[float], list[float]]:
    """Information and saved squared error of each place in bits, number by number.

    A posterior of variance v is that of an observation with noise of variance v / (1 - v); beta multiplies the noise.
    """
    information, explained = [0.0] * latents.places, [0.0] * latents.places
    for m, s, place in zip(latents.mean.tolist(), latents.log_std.tolist(), latents.place.tolist(), strict=True):
        variance = min(math.exp(2 * s), 1 - 1e-4)
        noise = variance / (1 - variance)
        seen, noise = m * (1 + noise), noise * math.exp(change)
        mean, variance = seen / (1 + noise), noise / (1 + noise)
        information[place] += (variance + mean**2 - 1 - math.log(variance)) / 2 / math.log(2)
        explained[place] += (mean**2 * (1 + variance) / (2 * variance) - (1 - variance) / 2) / math.log(2)
    return information, explained


def best_prefixes(gain: list[float]) -> list[bool]:
    """Of each datum the prefix of largest gain, by trying all of them."""
    chosen = [False] * PLACES
    for here in DATA:
        sums = [sum(gain[here][:length]) for length in range(here.stop - here.start + 1)]
        chosen[here] = [place < sums.index(max(sums)) for place in range(here.stop - here.start)]
    return chosen


def brute_force(latents: UncodedLatents, budget: float, sent: list[bool] | None = None) -> tuple[float, list[bool]]:
    """The smallest change of log beta with which the indices fit, and which ones are sent then."""
    for change in CHANGES:
        information, explained = by_hand(latents, change)
        bits = [1.5 + 0.9 * one for one in information]
        chosen = sent or best_prefixes([e - b for e, b in zip(explained, bits, strict=True)])
        if sum(b for b, one in zip(bits, chosen, strict=True) if one) <= budget:
            return change, chosen
    raise AssertionError("no change fits")


def some_latents() -> UncodedLatents:
    """Later places have less information, as the blocks of a file have."""
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(PLACES).repeat_interleave(5)
    strength = torch.tensor([4.0, 2.0, 1.0, 0.2, 3.0, 1.0, 0.1])[place]
    log_std = -torch.log1p(strength * torch.rand(len(place), generator=generator))
    return UncodedLatents(strength * torch.randn(len(place), generator=generator), log_std, place, PLACES)


def plan(latents: UncodedLatents, budget: float, capacity: float = 1e9, sent: Tensor | None = None) -> RatePlan:
    ends = (torch.zeros(PLACES), torch.full((PLACES,), 10.0))
    return plan_rate(
        latents, index_bits, budget, DATA, limits=(-2.0, 10.0), block_limits=ends, capacity=capacity, sent=sent
    )


@pytest.mark.parametrize("budget", [20.0, 35.0, 50.0, 80.0])
def test_plans_are_those_of_a_brute_force_search(budget: float) -> None:
    latents = some_latents()
    change, sent = brute_force(latents, budget)
    found = plan(latents, budget)
    assert float(found.change) == pytest.approx(change, abs=0.006)
    assert found.sent.tolist() == sent
    assert found.block_change.abs().max() < 1e-4
    assert 0 < sum(sent) < PLACES


def test_a_plan_that_was_made_is_kept_and_only_beta_changes() -> None:
    latents, sent = some_latents(), [True, True, False, False, True, False, False]
    change, _ = brute_force(latents, 30.0, sent)
    found = plan(latents, 30.0, sent=torch.tensor(sent))
    assert float(found.change) == pytest.approx(change, abs=0.006)
    assert found.sent.tolist() == sent


def test_without_a_budget_beta_stays_and_everything_is_sent() -> None:
    found = plan(some_latents(), math.inf)
    assert float(found.change) == 0
    assert found.sent.all()


def test_blocks_that_are_too_full_have_a_beta_of_their_own() -> None:
    latents, capacity = some_latents(), 8.0
    found = plan(latents, math.inf, capacity)
    for place, change in enumerate(found.block_change.tolist()):
        least = next(c for c in CHANGES if c >= 0 and by_hand(latents, c)[0][place] <= capacity)
        assert change == pytest.approx(least, abs=0.006)
    assert (found.block_change > 0.1).any()
    assert (found.block_change < 1e-4).any()


def test_roots_are_found_and_ends_where_there_are_none() -> None:
    low, high = torch.full((3,), -1.0), torch.full((3,), 3.0)
    found = decreasing_root(lambda x: torch.tensor([2.0, -5.0, 9.0]) - x**3, low, high)
    torch.testing.assert_close(found, torch.tensor([2 ** (1 / 3), -1.0, 9 ** (1 / 3)]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decreasing_root(lambda x: 50 - x, low, high), high)
