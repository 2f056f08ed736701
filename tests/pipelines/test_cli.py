"""The command line: answers at once, and turns bad input into one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines.cli import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (40, 40), "red").save(path)
    return path.parent


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        "try: main(['personalize', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--train.learning-rate" in done.stdout


def test_models_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines][0] == "nano"
    assert all(Path(line.split("\t")[-1]).is_dir() for line in lines)
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "nano"


def test_personalize_then_generate(
    tiny_model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--images", str(picture), "--token", "<x>", "--model", str(tiny_model), "--category", "toy"]
    out = tmp_path / "run"
    assert main(["personalize", *run, "--output", str(out), "--steps", "2", "--train.batch-size", "2"]) == 0
    concept = out / "concept.safetensors"
    assert capsys.readouterr().out.strip() == str(concept)
    assert json.loads((out / "report.json").read_text())["settings"]["train"]["batch_size"] == 2
    grid = tmp_path / "grid.png"
    arguments = ["generate", "--concept", str(concept), "--output", str(grid), "--steps", "2", "--count", "3"]
    assert main([*arguments, "--prompt", "a <x> on the beach"]) == 0
    with Image.open(grid) as image:
        assert image.size == (64, 64)
        assert image.info["prompt"] == "a <x> on the beach"
    assert main([*arguments, "--prompt", "a toy"]) == 2
    assert "has none of the learned words <x>" in capsys.readouterr().err
    assert main(["personalize", *run, "--output", str(out), "--steps", "2"]) == 1
    assert "already holds a run; resume it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "none", "--token", "<x>"], "error: there is no folder or picture none"),
        (["--images", ".", "--token", "<x>", "--config", "nanno"], "error: there is no settings file nanno"),
        (["--images", ".", "--token", "<x>", "--train.steps", "0"], "steps must be positive, got 0"),
    ],
)
def test_bad_input(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["personalize", *arguments, "--output", str(tmp_path / "o")])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["generate", "--promt", "x", "--output", "o.png"])
    assert stop.value.code == 2


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "--prompt", "x", "--output", str(tmp_path / "o.png"), "--model", "./none"]
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*arguments, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
