"""Shipped recipes load, and settings that cannot be are named."""

from __future__ import annotations

from typing import Any

import pytest

from mappers.settings import load_settings
from nerf.conditional.settings import CategoryConfig
from nerf.families import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_recipe(family: str) -> None:
    config = load_settings(CategoryConfig, family, task="conditional")
    assert config.family == family
    assert 0 <= config.taught_steps < config.train.steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rays": 0}, "rays must be positive, got 0"),
        ({"code_weight": -1.0}, "code_weight must not be negative, got -1.0"),
        ({"near_object": 1.5}, "near_object must lie in 0..1, got 1.5"),
        ({"grid": 1}, r"grid must be in 2..128, got 1"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CategoryConfig(**changes)
