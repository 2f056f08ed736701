"""Settings of the training of mappers."""

from __future__ import annotations

from mappers.yaml_settings import load_settings
from pipelines.audio.settings import FitMapperConfig


def test_the_function_and_its_command_have_the_same_defaults() -> None:
    """The command takes "nano" where no settings are named, the function what the class says."""
    assert load_settings(FitMapperConfig, "nano", task="fit_mapper") == FitMapperConfig()


def test_other_shipped_settings_differ_where_they_say_so() -> None:
    published = load_settings(FitMapperConfig, "paper", task="fit_mapper")
    assert (published.depth, published.train.warmup_steps, published.train.schedule) == (12, 0, "constant")
    regression = load_settings(FitMapperConfig, "regression", task="fit_mapper")
    assert (regression.method, regression.train.ema, regression.train.clip_norm) == ("regression", None, None)
