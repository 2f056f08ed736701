"""Values of made pictures as bytes."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor


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


def to_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Values in 0..1, which are clamped, as 8 bits on the CPU.

    Raises:
        NotFiniteError: one is infinite or not a number.
    """
    check_finite(values, "train the model again with a lower learning rate or with precision fp32")
    return (values.detach().cpu().clamp(0, 1) * 255).round().byte()
