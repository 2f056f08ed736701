"""Shape annotations are enforced while tests run."""

from __future__ import annotations

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation, BeartypeDoorHintViolation

from mappers.pairs import Pairs
from mappers.ridge import ridge_regression
from mappers.training.draws import Draws


def test_a_wrong_argument_is_caught() -> None:
    """Rows of x and y that do not pair up have no shape in common."""
    with pytest.raises(BeartypeCallHintViolation, match=r"ridge_regression.*y="):
        ridge_regression(torch.zeros(3, 2), torch.zeros(4, 1), 1.0)
    weight, bias = ridge_regression(torch.eye(3), torch.zeros(3, 2), 1.0)
    assert (weight.shape, bias.shape) == ((2, 3), (2,))


def test_a_wrong_result_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.zeros(()))
    with pytest.raises(BeartypeCallHintViolation, match=r"integers.*return"):
        Draws(0, 0, range(2)).integers("coin", 2)


def test_functions_without_shapes_are_left_alone() -> None:
    assert not hasattr(Draws.__len__, "__wrapped__")
    assert hasattr(Draws.uniform, "__wrapped__")


def test_a_wrong_field_is_caught() -> None:
    with pytest.raises(BeartypeDoorHintViolation, match=r"Pairs\.index"):
        Pairs(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(5, 3, dtype=torch.long))
