"""Weights of a few bits: quantization-aware training, so that the stored weights are those that were trained.

A tensor of b bits holds whole multiples of one step, from -(2^(b-1) - 1) to 2^(b-1) - 1 of them. Steps are powers of
two: products with them are exact, so that every machine decodes the same weights and rounding twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

FEWEST, MOST = 2, 8
"""Range of the bits of a weight."""
SMALL = 2048
"""If one number of bits is given for all, tensors with fewer values than this keep `MOST` bits: they cost little."""


def check_bits(bits: int) -> None:
    """Refuse numbers of bits outside the range.

    Raises:
        ValueError: out of `FEWEST`..`MOST`.
    """
    if not FEWEST <= bits <= MOST:
        raise ValueError(f"bits of a weight must be in {FEWEST}..{MOST}, got {bits}")


def bits_per_tensor(field: nn.Module, bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every parameter by name.

    Args:
        field: whose parameters.
        bits: of all large tensors but modulation grids; or by prefix of the name, where the longest one counts and
            `MOST` is for those without one.

    Raises:
        ValueError: a number is out of `FEWEST`..`MOST`, or a prefix is that of no parameter.
    """
    given = {"": MOST, **bits} if isinstance(bits, Mapping) else {"": bits}
    for prefix, count in given.items():
        check_bits(count)
        if not any(name.startswith(prefix) for name, _ in field.named_parameters()):
            raise ValueError(f"bits name {prefix!r}, which no tensor of the field begins with; leave it out")
    chosen = {}
    for name, value in field.named_parameters():
        longest = max((prefix for prefix in given if name.startswith(prefix)), key=len)
        spared = not isinstance(bits, Mapping) and (value.numel() < SMALL or "modulation" in name)
        chosen[name] = MOST if spared else given[longest]
    return chosen


def exponent_of(value: Tensor, bits: int) -> int:
    """Logarithm to base 2 of the smallest step whose multiples reach the largest of the values; 0 for zeros."""
    largest = float(value.detach().abs().max()) if value.numel() else 0.0
    if not math.isfinite(largest):
        raise ValueError("a weight is not a finite number and cannot be rounded; train again with a lower rate")
    levels = 2 ** (bits - 1) - 1
    exponent = math.frexp(largest / levels)[1] if largest else 0
    # frexp's mantissa lies in [0.5, 1): a largest value of exactly levels steps needs one step less.
    return exponent - 1 if largest and levels * 2.0 ** (exponent - 1) >= largest else exponent


def quantize(value: Float[Tensor, " ..."], bits: int) -> tuple[Int[Tensor, " ..."], int]:
    """Whole multiples of a step nearest to the values (int8), and the step's exponent."""
    exponent = exponent_of(value, bits)
    return torch.round(value.detach() * 2.0**-exponent).to(torch.int8), exponent


class _Rounded(torch.autograd.Function):
    """Rounding with the identity as its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, bits: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        exponent = exponent_of(value, bits)
        return torch.round(value * 2.0**-exponent) * 2.0**exponent

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad, None


def rounded(value: Float[Tensor, " ..."], bits: int) -> Float[Tensor, " ..."]:
    """The nearest values that ``bits`` hold; gradients pass unchanged (straight through)."""
    return _Rounded.apply(value, bits)  # pyright: ignore[reportReturnType]


class Quantized(nn.Module):
    """A field that is evaluated with rounded weights while full-precision weights are trained (straight-through).

    Args:
        field: any module.
        bits: see `bits_per_tensor`.
    """

    def __init__(self, field: nn.Module, bits: int | Mapping[str, int]):
        super().__init__()
        self.field, self.bits = field, bits_per_tensor(field, bits)

    def forward(self, *arguments: Any) -> Any:
        weights = {name: rounded(value, self.bits[name]) for name, value in self.field.named_parameters()}
        return functional_call(self.field, weights, arguments)

    @contextmanager
    def inside(self) -> Iterator[nn.Module]:
        """The field itself, with rounded weights inside a ``with`` block."""
        kept = {name: value.detach().clone() for name, value in self.field.named_parameters()}
        self.round()
        try:
            yield self.field
        finally:
            with torch.no_grad():
                for name, value in self.field.named_parameters():
                    value.copy_(kept[name])

    @torch.no_grad()
    def round(self) -> None:
        """Round the field's weights permanently."""
        for name, value in self.field.named_parameters():
            value.copy_(rounded(value, self.bits[name]))
