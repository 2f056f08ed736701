"""The command ``mapfield``: both command lines behind one name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.cli import main


def refused(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return int(stopped.value.code or 0)


def test_lists_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("nano\t")


def test_help_knows_both_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused("--help") == 0
    out = capsys.readouterr().out
    assert "personalize" in out
    assert "nerf" in out
    assert refused("nerf", "--help") == 0
    assert "distill" in capsys.readouterr().out


def test_settings_of_a_field_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """As ``mapfield nerf`` reads them: the defaults in the help come from the family's file."""
    shown = []
    for family in ("hash", "cp"):
        assert refused("nerf", "train", "--field", family, "--help") == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] != shown[1]
    assert "mapfield nerf train" in shown[0]


def test_errors_are_those_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nerf", "render", "--run", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert refused("nerf", "trian") == 2
    assert refused("personalise") == 2


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused("--tyro-print-completion", shell) == 0
    out = capsys.readouterr().out
    for word in ("vision-to-audio", "distill", "--teacher"):
        assert word in out


def test_help_answers_at_once() -> None:
    """In processor seconds, because the machine may be busy."""
    code = (
        "import atexit, sys, time; atexit.register(lambda: print(time.process_time(), file=sys.stderr));"
        " from pipelines.cli import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stderr.split()[-1]) < 2
