"""Shipped recipes load, and settings that cannot be are named."""

from __future__ import annotations

from typing import Any

import pytest

from mappers.training.train_config import TrainConfig
from mappers.yaml_settings import load_settings
from nerf.conditional.families import FAMILIES
from nerf.conditional.settings import CategoryConfig, GanConfig


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


def test_the_adversarial_recipe_has_grafs_sizes() -> None:
    config = load_settings(CategoryConfig, "chairs-gan", task="conditional")
    assert config.objective == "gan"
    assert (config.gan.patch, config.gan.channels) == (32, 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 24}, "gan.patch must be a power of two from 8 on, got 24"),
        ({"channels": 6}, "gan.channels are halved 2 times for patches of 32 and must allow it, got 6"),
        ({"least_scale": 0.0}, "gan.least_scale must be above 0 and at most 1, got 0"),
        ({"penalty": -1.0}, "gan.penalty must not be negative, got -1"),
        ({"noise_steps": 0}, "gan.noise_steps must be positive, got 0"),
    ],
)
def test_a_game_that_cannot_be_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GanConfig(**changes)


def test_the_game_fits_the_pictures_and_is_not_compiled() -> None:
    with pytest.raises(ValueError, match=r"gan.patch must be at most size \(16\), got 32"):
        CategoryConfig(objective="gan", size=16)
    with pytest.raises(ValueError, match="train.compile must be off for the objective gan"):
        CategoryConfig(objective="gan", train=TrainConfig(compile=True))
