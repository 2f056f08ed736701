"""Category models of the app: which there are, which are refused, and which stay loaded."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from demos.__main__ import main
from demos.tabs import editing_models as categories
from demos.tabs.editing_models import CategoryError, Editors, found


def test_the_list_of_models_is_the_installation_s_or_what_the_app_is_started_with(
    chairs: Path, cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both = found([str(chairs), str(cars)])
    assert [(one.name, one.family, one.count) for one in both] == [("chairs", "chairs", 6), ("cars", "cars", 6)]
    shutil.copytree(chairs, tmp_path / "nano-chairs")
    shutil.copytree(cars, tmp_path / "nano-cars")
    (tmp_path / "nano-cars" / "config.json").write_text("{}")
    names = {"nano-chairs": categories.MODEL_TYPE, "nano-cars": categories.MODEL_TYPE, "nano": "text-to-image"}
    shipped = [SimpleNamespace(id=name, type=kind, folder=tmp_path / name) for name, kind in names.items()]
    monkeypatch.setattr(categories, "embedded_models", lambda: shipped)
    with caplog.at_level(logging.WARNING):
        assert [one.name for one in found()] == ["nano-chairs"]
    assert "nano-cars is not a whole category model" in caplog.text
    assert found(["nano-chairs"])[0].folder == tmp_path / "nano-chairs"
    for given, message in (
        ([str(tmp_path / "none")], "none is no category model, nor part of this installation; train one"),
        (["nano-cars"], "is not a whole category model"),
        ([str(cars), str(cars)], r"have the same name \(cars, cars\)"),
    ):
        with pytest.raises(CategoryError, match=message):
            found(given)


def test_the_command_refuses_a_model_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["editing", "--output", str(tmp_path), "--categories", "nano-trucks"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_few_models_stay_loaded(chairs: Path, cars: Path) -> None:
    editors, models = Editors(most=1), found([str(chairs), str(cars)])
    with editors.at(models[0], 0) as first:
        pass
    with editors.at(models[0], 1) as again:
        assert again is first
    with editors.at(models[1], 0) as other:
        assert other.model.family_name == "cars"
    with editors.at(models[0], 0) as later:
        assert later is not first
