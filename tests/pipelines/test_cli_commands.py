"""Which settings a command line chooses, and where options may stand."""

from __future__ import annotations

from typing import Any

import pytest

from mappers.command_line import parse, read_draft
from pipelines import cli


def parsed(*words: str) -> Any:
    command = parse(cli.Command, words, prog="mapfield", draft=read_draft(cli.Command, words)).command
    return command.command if isinstance(command, cli.Nerf) else command


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        (["film.mp4", "--output", "runs/v"], 2),
        (["--output", "runs/v", "film.mp4"], 2),
        (["--output", "runs/film.mp4", "a.png"], 4096),
        (["film.mp4", "--output", "runs/v", "--config", "picture"], 4096),
        (["film.mp4", "--output", "runs/v", "--train.batch-size", "3"], 3),
    ],
)
def test_fit_takes_the_settings_of_its_medium(words: list[str], batch: int) -> None:
    assert parsed("nerf", "fit", *words).settings.train.batch_size == batch


def test_of_two_settings_files_the_last_counts() -> None:
    """As of every option that is given twice."""
    rates = {}
    for name in ("cp", "mlp"):
        other = {"cp": "mlp", "mlp": "cp"}[name]
        words = ["nerf", "train", "--scene", "robot", "--output", "o", "--config", other, f"--config={name}"]
        rates[name] = parsed(*words).settings.train.learning_rate
    assert rates == {"cp": 2e-2, "mlp": 5e-3}


def test_a_setting_may_be_valid_only_with_those_of_the_file() -> None:
    """``fine`` needs ``occupancy: 0``, which the file says and the class does not."""
    words = ["nerf", "train", "--scene", "robot", "--output", "o", "--config", "nerf-coarse-fine", "--fine", "64"]
    settings = parsed(*words).settings
    assert (settings.fine, settings.occupancy, settings.train.steps) == (64, 0, 200_000)


def test_a_value_may_look_like_an_option_of_all() -> None:
    """A word that is the value of an option is no option."""
    command = parsed("generate", "--output", "o.png", "--prompt=--debug")
    assert command.options.prompt == "--debug"


@pytest.mark.parametrize("words", [["--debug", "models"], ["models", "--debug"], ["nerf", "--debug", "info", "a"]])
def test_debug_stands_before_or_after_the_command(words: list[str]) -> None:
    assert parse(cli.Command, words, prog="mapfield", draft=read_draft(cli.Command, words)).debug


def test_help_shows_the_settings_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    for words, value in (
        (["nerf", "train", "--field", "cp"], "default: 0.02)"),
        (["nerf", "train", "--help", "--config", "nerf-coarse-fine"], "default: 200000)"),
        (["nerf", "fit", "--output", "o", "film.mp4"], "default: 2)"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, "--help"])
        assert not stopped.value.code
        assert value in " ".join(capsys.readouterr().out.split())


def test_a_wrong_option_is_named_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["nerf", "train", "--scene", "robot", "--output", "o", "--feild", "cp"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "--feild" in error
    assert "--field" in error
