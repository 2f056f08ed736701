"""Pictures as bytes: rounding, clamping, and no black picture in place of what is not a number."""

from __future__ import annotations

import pytest
import torch

from mappers.pixels import NotFiniteError, check_side, check_views, to_bytes


def test_values_are_rounded_and_clamped() -> None:
    assert to_bytes(torch.tensor([-1.0, 0.0, 0.5, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_picture_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(NotFiniteError, match=r"25.0% of the picture's values are not finite numbers; train"):
        to_bytes(torch.tensor([0.1, value, 0.2, 0.3]))


def test_a_picture_that_no_machine_can_hold_is_refused() -> None:
    for size in (2, 8192):
        check_side(size, least=2)
    with pytest.raises(ValueError, match="size must be at least 2 pixels, got 1"):
        check_side(1, least=2)
    with pytest.raises(ValueError, match="width must be at most 8192 pixels, got 1000000000"):
        check_side(10**9, name="width")
    check_views(10_000)
    for count, limit in ((0, "least 1"), (10**9, "most 10000")):
        with pytest.raises(ValueError, match=f"views must be at {limit}, got {count}"):
            check_views(count)
