"""Values of made pictures as bytes."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor

LARGEST_SIDE = 8192
"""Pixels along a side of a picture that is drawn, at most."""
MOST_VIEWS = 10_000
"""Views of a path of cameras that are drawn, at most."""


class NotFiniteError(RuntimeError):
    """A picture that was made has values that are not finite; the message says what to do."""


def check_finite(values: Float[Tensor, "*shape"], remedy: str) -> None:
    """Refuse pictures with infinite values or values that are not numbers: as bytes, these would be black.

    Args:
        values: of any shape.
        remedy: what to do, for the message.

    Raises:
        NotFiniteError: there is such a value.
    """
    finite = values.isfinite()
    if not bool(finite.all()):
        share = 1 - float(finite.float().mean())
        raise NotFiniteError(f"{share:.1%} of the picture's values are not finite numbers; {remedy}")


def check_side(pixels: int, *, least: int = 1, name: str = "size") -> None:
    """Refuse a width or height of a picture to draw that is too small, or for which no machine has the memory.

    Raises:
        ValueError: it is not in ``least`` to `LARGEST_SIDE`.
    """
    if pixels < least:
        raise ValueError(f"{name} must be at least {least} {'pixel' if least == 1 else 'pixels'}, got {pixels}")
    if pixels > LARGEST_SIDE:
        raise ValueError(f"{name} must be at most {LARGEST_SIDE} pixels, got {pixels}")


def check_views(count: int) -> None:
    """Refuse a number of views to draw that is not in 1 to `MOST_VIEWS`.

    Raises:
        ValueError: it is not.
    """
    if count < 1:
        raise ValueError(f"views must be at least 1, got {count}")
    if count > MOST_VIEWS:
        raise ValueError(f"views must be at most {MOST_VIEWS}, got {count}")


def to_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Values in 0..1, which are clamped, as 8 bits on the CPU.

    Raises:
        NotFiniteError: one is infinite or not a number.
    """
    check_finite(values, "train the model again with a lower learning rate or with precision fp32")
    return (values.detach().cpu().clamp(0, 1) * 255).round().byte()
