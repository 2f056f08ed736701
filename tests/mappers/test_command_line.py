"""What the command lines share: one parser with groups, drafts that choose settings, errors as one line."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro
from tyro.conf import Positional

from mappers.command_line import Configured, Group, parse, read_draft, run_command, run_script


@dataclass(frozen=True)
class Settings:
    low: int = 1
    high: int = 2

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


@dataclass(frozen=True, kw_only=True)
class Work(Configured):
    """Work on a file."""

    file: Positional[Path]
    output: Path
    large: bool = False
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings()

    def chosen_settings(self) -> Settings:
        if self.file is not None and self.file.suffix == ".bad":
            raise ValueError("no settings for .bad; choose another file")
        return Settings(100, 200) if self.large else Settings()

    def run(self) -> None:
        print(self.file, self.output, self.settings.low, self.settings.high)


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Fail."""

    late: bool = False
    why: str = "it failed"

    def run(self) -> None:
        raise (RuntimeError if self.late else ValueError)(self.why)


@dataclass(frozen=True, kw_only=True)
class More(Group):
    """More commands."""

    command: Annotated[
        Annotated[Work, tyro.conf.subcommand("work")] | Annotated[Fail, tyro.conf.subcommand("fail")],
        tyro.conf.arg(name=""),
    ]


COMMANDS = (
    Annotated[Work, tyro.conf.subcommand("work")]
    | Annotated[Fail, tyro.conf.subcommand("fail")]
    | Annotated[More, tyro.conf.subcommand("more")]
)


def run(*words: str) -> int:
    return run_command(COMMANDS, words, prog="prog")


@pytest.mark.parametrize("prefix", [[], ["more"]])
def test_options_choose_settings_wherever_they_stand(prefix: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--large", "a", "--output", "o"], ["--output", "o", "a", "--large"]):
        assert run(*prefix, "work", *words, "--high", "150") == 0
        assert capsys.readouterr().out.split() == ["a", "o", "100", "150"]
    assert run(*prefix, "work", "a", "--output", "o") == 0
    assert capsys.readouterr().out.split() == ["a", "o", "1", "2"]


def test_a_draft_requires_and_checks_nothing() -> None:
    draft = read_draft(COMMANDS, ["work", "--low", "5", "--help"])
    assert draft is not None
    assert draft.help
    assert isinstance(draft.command, Work)
    assert (draft.command.file, draft.command.settings.low, draft.command.settings.high) == (None, 5, 2)
    assert read_draft(COMMANDS, ["work", "--lwo", "5"]) is None


def test_what_is_required_is_still_required(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in ((["a"], "--output"), (["a", "--output", "o", "--low", "5"], "low must not be above high")):
        try:
            code = run("work", *words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        assert code == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_help_has_the_defaults_of_the_chosen_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(COMMANDS, ["work", "--help"], prog="prog", draft=read_draft(COMMANDS, ["work", "--large", "--help"]))
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert "default: 100" in out
    assert "--debug" in out


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"], ["more", "fail", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "Traceback" in capsys.readouterr().err
    assert run(*(word for word in words if word != "--debug")) == 2
    assert capsys.readouterr().err == "error: it failed\n"


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A file's name may have a line break, and a library's message too."""
    assert run("fail", "--why", "a\nb.png is no picture") == 2
    assert capsys.readouterr().err == "error: a b.png is no picture\n"


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fail", "--late") == 1
    assert run("work", "a.bad", "--output", "o") == 2
    assert "no settings for .bad; choose another file" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_output_never_fails_because_of_the_console(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in printed.items():
        monkeypatch.setattr(sys, name, stream)
    assert run("work", "жук.txt", "--output", "жук") == 0
    assert run("work", "жук.bad", "--output", "o") == 2
    for stream in printed.values():
        stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in printed.values())  # pyright: ignore
    assert out.strip()
    assert err.strip()


def script(*, kind: str) -> int:
    """End in some way.

    Args:
        kind: Of the end.
    """
    if kind == "done":
        return 0
    raise {"input": ValueError("bad number"), "taken": FileExistsError("taken"), "run": RuntimeError("stopped")}[kind]


def test_a_script_ends_with_the_exit_codes_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    ends = {
        "done": (0, ""),
        "input": (2, "error: bad number\n"),
        "taken": (2, "error: taken\n"),
        "run": (1, "error: stopped\n"),
    }
    for kind, (code, said) in ends.items():
        assert run_script(script, ["--kind", kind]) == code
        assert capsys.readouterr().err == said
    with pytest.raises(SystemExit) as stopped:
        run_script(script, ["--help"])
    assert not stopped.value.code
    assert f"python -m {__name__}" in capsys.readouterr().out
