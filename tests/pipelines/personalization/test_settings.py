"""Settings files: strict, with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappers.yaml_settings import load_settings
from pipelines.personalization.settings import PersonalizeConfig


def load(tmp_path: Path, text: str) -> PersonalizeConfig:
    (tmp_path / "s.yaml").write_text(text)
    return load_settings(PersonalizeConfig, tmp_path / "s.yaml", task="personalize")


def test_values_nest_and_keep_their_types(tmp_path: Path) -> None:
    config = load(tmp_path, "method: textual-inversion\ntrain: {learning_rate: 1e-3, betas: [0.9, 0.99], steps: 7}\n")
    assert config.method == "textual-inversion"
    assert (config.train.learning_rate, config.train.betas, config.train.steps) == (1e-3, (0.9, 0.99), 7)
    assert load(tmp_path, "") == PersonalizeConfig()


def test_shipped_settings_load_by_name() -> None:
    assert load_settings(PersonalizeConfig, "stable-diffusion", task="personalize").train.steps == 1000
    with pytest.raises(FileNotFoundError, match="there is no settings file nanno; shipped are: nano"):
        load_settings(PersonalizeConfig, "nanno", task="personalize")


def test_the_function_and_its_command_have_the_same_defaults() -> None:
    """The command takes "nano" where no settings are named, the function what the class says."""
    assert load_settings(PersonalizeConfig, "nano", task="personalize") == PersonalizeConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metod: neti", "unknown setting 'metod'; did you mean method?"),
        ("train: {stepps: 3}", "train has the unknown setting 'stepps'; did you mean steps?"),
        ("train: {steps: many}", "train: steps must be of type int, got 'many'"),
        ("bypass: 3", "bypass must be of type bool, got 3"),
        ("method: magic", "method must be one of neti, textual-inversion, xti, got 'magic'"),
        ("flip: 2.0", r"flip must be in 0\.\.1"),
        ("nested_dropout: -0.5", r"nested_dropout must be in 0\.\.1"),
        ("[1, 2]", "must hold settings by name"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not valid YAML"):
        load(tmp_path, f"method: !!python/object/apply:os.system ['touch {tmp_path}/owned']")
    assert not (tmp_path / "owned").exists()
