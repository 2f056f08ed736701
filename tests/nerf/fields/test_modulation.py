"""Grids interpolate as an independent computation does, start as nothing, and learn only where points are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from nerf.fields.modulation import Modulation, modulated, normalized


def filled(*nodes: int, layers: int = 2, channels: int = 1, wraps: tuple[bool, ...] = (), seed: int = 0) -> Modulation:
    grid = Modulation(nodes, layers, channels=channels, wraps=wraps)
    with torch.no_grad():
        grid.table.normal_(generator=torch.Generator().manual_seed(seed))
    return grid


@settings(max_examples=25, deadline=None)
@given(
    axes=st.lists(st.tuples(st.integers(2, 6), st.booleans()), min_size=1, max_size=3),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_interpolates_as_scipy_does(axes: list[tuple[int, bool]], channels: int, seed: int) -> None:
    nodes, wraps = zip(*axes, strict=True)
    grid = filled(*nodes, channels=channels, wraps=wraps, seed=seed)
    at = torch.rand(20, len(nodes), generator=torch.Generator().manual_seed(seed))
    values = grid.table.detach().numpy().reshape(*nodes, -1)
    for axis, again in enumerate(wraps):
        values = np.concatenate([values, values.take([0], axis)], axis) if again else values
    expected = RegularGridInterpolator([np.linspace(0, 1, n) for n in values.shape[:-1]], values)(at.numpy())
    expected = torch.from_numpy(expected).float().view(20, 2, 2, channels).permute(1, 2, 0, 3).clone()
    expected[:, 0] += 1
    torch.testing.assert_close(grid(at), expected, atol=1e-4, rtol=1e-4)


def test_is_exact_at_its_nodes_and_goes_around() -> None:
    grid = filled(5, wraps=(True,), layers=1)
    at = torch.arange(5)[:, None] / 5
    torch.testing.assert_close(grid(at)[0, 1, :, 0], grid.table[:, 1])
    torch.testing.assert_close(grid(torch.ones(1, 1)), grid(torch.zeros(1, 1)))
    middle = (grid.table[4, 1] + grid.table[0, 1]) / 2
    torch.testing.assert_close(grid(torch.tensor([[0.9]]))[0, 1, 0, 0], middle)


def test_starts_as_the_plain_normed_layer() -> None:
    hidden, at = torch.randn(30, 8), torch.rand(30, 2)
    for channels in (1, 8):
        pair = Modulation((6, 6), 3, channels=channels)(at)[2]
        torch.testing.assert_close(modulated(hidden, pair), normalized(hidden))
    torch.testing.assert_close(normalized(hidden).mean(-1), torch.zeros(30), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalized(hidden).var(-1, unbiased=False), torch.ones(30), atol=1e-3, rtol=0)


def test_gradients_of_norm_and_modulation_in_one_are_those_of_both_in_turn() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = (3 * torch.randn(9, 7, generator=generator) + 2).requires_grad_()
    pair = torch.randn(2, 9, 1, generator=generator).requires_grad_()
    weight = torch.randn(9, 7, generator=generator)
    fused = torch.autograd.grad((modulated(hidden, pair) * weight).sum(), (hidden, pair))
    plain = torch.autograd.grad(((normalized(hidden) * pair[0] + pair[1]) * weight).sum(), (hidden, pair))
    for a, b in zip(fused, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_half_precision_around_it_changes_nothing() -> None:
    hidden, pair = torch.randn(9, 7, requires_grad=True), torch.randn(2, 9, 1)
    expected = torch.autograd.grad(modulated(hidden, pair).square().sum(), hidden)[0]
    with torch.autocast("cpu", torch.bfloat16):
        out = modulated(hidden, pair)
        found = torch.autograd.grad(out.square().sum(), hidden)[0]
    torch.testing.assert_close(out, modulated(hidden, pair))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)  # the backward pass is within autocast here


def test_gradients_reach_only_nodes_around_points() -> None:
    grid = filled(4, 4, layers=1)
    grid(torch.tensor([[0.5, 0.1]])).sum().backward()
    assert grid.table.grad is not None
    touched = (grid.table.grad != 0).any(-1).view(4, 4)
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[1:3, 0:2] = True
    assert torch.equal(touched, expected)


@pytest.mark.parametrize("value", [-0.2, 1.5, float("nan")])
def test_outside_its_range_is_one_sentence(value: float) -> None:
    grid = filled(4, 4)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, got"):
        grid(torch.tensor([[0.5, value]]))
    with pytest.raises(ValueError, match="has 2 coordinates, got 3"):
        grid(torch.rand(4, 3))


def test_bad_sizes_are_named() -> None:
    for nodes in ((4, 1), (), (4, 4, 4, 4)):
        with pytest.raises(ValueError, match="at least 2 nodes along each of one to three coordinates, got"):
            Modulation(nodes, 1)
    with pytest.raises(ValueError, match="layers and channels must be at least 1"):
        Modulation((4,), 0)
    with pytest.raises(ValueError, match="each of 2 coordinates"):
        Modulation((4, 4), 1, wraps=(True,))


def test_no_points_are_fine() -> None:
    assert filled(4, 4)(torch.zeros(0, 2)).shape == (2, 2, 0, 1)
