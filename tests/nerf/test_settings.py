"""One function decides which settings a training takes, for the API and for its command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mappers.command_line import parse, read_draft
from mappers.yaml_settings import load_settings
from nerf import cli, training
from nerf.fields import FIELDS
from nerf.media import fitting
from nerf.scenes import load_scene, shipped_scenes
from nerf.settings import MOVING, RadianceConfig, scene_moves


class Chosen(Exception):
    """Carries the settings that a training began with."""


def test_families_for_scenes_that_move_are_those_of_the_fields() -> None:
    assert {name: family.moving for name, family in FIELDS.items() if family.moving not in (None, name)} == MOVING


@pytest.mark.parametrize("name", [*shipped_scenes(), "nowhere"])
def test_moving_scenes_are_known_without_their_pictures(name: str, tmp_path: Path) -> None:
    assert scene_moves(name) == (name in shipped_scenes() and load_scene(name).cameras.times is not None)
    for folder in shipped_scenes().values():
        assert scene_moves(folder) == scene_moves(folder.name)
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [{"time": 0.0}]}))
    assert scene_moves(tmp_path)


def test_api_and_command_agree_on_a_scene_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two files of the families differ here, as they may."""

    def named(cls: Any, source: str, *, task: str) -> Any:
        config = load_settings(cls, source, task=task)
        return dataclasses.replace(config, intervals=77 if source == "cam-time" else 76)

    def stop(name: str, *arguments: Any, **settings: Any) -> None:
        raise Chosen

    monkeypatch.setattr("nerf.settings.load_settings", named)
    words = ["train", "--scene", "clockwork", "--field", "cam", "--output", "o"]
    command = parse(cli.Command, words, prog="nerf", draft=read_draft(cli.Command, words)).command
    assert isinstance(command.settings, RadianceConfig)
    assert command.settings.intervals == 77
    seen: list[RadianceConfig] = []
    monkeypatch.setattr(training, "stages", lambda field, config: seen.append(config) or stop(""))
    with pytest.raises(Chosen):
        training.train("clockwork", "cam")
    assert seen[0].intervals == 77


def test_api_and_command_agree_on_videos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(2):
        Image.new("RGB", (16, 16), (100 * number, 0, 0)).save(tmp_path / f"{number}.png")
    words = ["fit", "--output", "o", str(tmp_path)]
    command = parse(cli.Command, words, prog="nerf", draft=read_draft(cli.Command, words)).command
    seen: list[Any] = []

    def noted(media: Any, field: Any, config: Any) -> None:
        seen.append(config)
        raise Chosen

    monkeypatch.setattr(fitting, "FitTask", noted)
    with pytest.raises(Chosen):
        fitting.fit_media(tmp_path)
    assert seen[0] == command.settings


def test_settings_that_are_not_utf_8_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 3\n", encoding="utf-8-sig")
    assert load_settings(RadianceConfig, tmp_path / "mine.yaml", task="train").train.steps == 3
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 3\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"mine\.yaml is not text in UTF-8 .*; save it in that encoding"):
        load_settings(RadianceConfig, tmp_path / "mine.yaml", task="train")
