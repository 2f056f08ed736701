"""Rounded weights: few values, exact steps, unchanged by rounding again, and learnable."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nerf.fields.quantized import Quantized, bits_per_tensor, quantize, rounded


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(2, 8), seed=st.integers(0, 99), scale=st.floats(1e-6, 1e4))
def test_rounding_is_near_small_and_stable(bits: int, seed: int, scale: float) -> None:
    value = scale * torch.randn(50, generator=torch.Generator().manual_seed(seed))
    whole, exponent = quantize(value, bits)
    assert int(whole.abs().max()) <= 2 ** (bits - 1) - 1
    near = rounded(value, bits)
    assert torch.equal(near, whole.float() * 2.0**exponent)
    assert float((near - value).abs().max()) <= 2.0**exponent / 2
    assert torch.equal(rounded(near, bits), near)


def test_zeros_stay_zeros_and_gradients_pass() -> None:
    value = torch.zeros(4, requires_grad=True)
    rounded(value, 3).sum().backward()
    assert torch.equal(rounded(value, 3), torch.zeros(4))
    assert value.grad is not None
    assert torch.equal(value.grad, torch.ones(4))


def test_the_largest_value_of_all_levels_needs_no_larger_step() -> None:
    assert quantize(torch.tensor([7.0, 1.0]), 4)[1] == 0
    assert quantize(torch.tensor([7.1, 1.0]), 4)[1] == 1


def test_a_quantised_field_is_asked_with_rounded_weights_and_learns_the_others() -> None:
    torch.manual_seed(0)
    field = nn.Linear(5, 3)
    quantized, x = Quantized(field, {"weight": 3}), torch.randn(2, 5)
    expected = x @ rounded(field.weight, 3).T + rounded(field.bias, 8)
    torch.testing.assert_close(quantized(x), expected)
    quantized(x).sum().backward()
    assert field.weight.grad is not None
    before = field.weight.detach().clone()
    with quantized.inside() as inner:
        torch.testing.assert_close(inner(x), expected)
    assert torch.equal(field.weight, before)
    quantized.round()
    torch.testing.assert_close(field(x), expected)


def test_bits_are_chosen_by_size_or_by_name() -> None:
    field = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 3))
    assert bits_per_tensor(field, 4) == {"0.weight": 4, "0.bias": 8, "1.weight": 8, "1.bias": 8}
    assert bits_per_tensor(field, {"0": 5, "0.bias": 7})["0.bias"] == 7
    with pytest.raises(ValueError, match=r"must be in 2\.\.8, got 9"):
        bits_per_tensor(field, 9)
    with pytest.raises(ValueError, match="'nope', which no tensor"):
        bits_per_tensor(field, {"nope": 4})
    with pytest.raises(ValueError, match="not a finite number"):
        quantize(torch.tensor([float("nan")]), 4)
