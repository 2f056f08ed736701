"""Every command of ``mapfield`` with its flags, as they have always been; version, environment and extras."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from mapfield import cli
from mappers.extras import EXTRAS

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "tests" / "expected" / "commands.json"
OF_ALL = ("-h", "--help", "--debug", "--no-debug")


def specification() -> dict[str, Any]:
    """What shell completion knows of the command line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main(["--tyro-print-completion", "bash"])
    line = next(line for line in printed.getvalue().splitlines() if line.startswith("COMPLETION_SPEC = "))
    return ast.literal_eval(line.partition(" = ")[2])


def commands(spec: dict[str, Any], name: str = "mapfield") -> Iterator[tuple[str, list[str]]]:
    if not spec.get("subcommands"):
        yield name, sorted(flag for option in spec["options"] for flag in option["flags"])
    for word, inner in spec.get("subcommands", {}).items():
        yield from commands(inner, f"{name} {word}")


def test_commands_keep_their_flags(pytestconfig: pytest.Config) -> None:
    found = {name: " ".join(f for f in flags if f not in OF_ALL) for name, flags in commands(specification())}
    if pytestconfig.getoption("--update-goldens"):
        lines = [f"{json.dumps(name)}:\n  {json.dumps(flags)}" for name, flags in sorted(found.items())]
        EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    assert found == json.loads(EXPECTED.read_text(encoding="utf-8"))


def test_the_version_is_that_of_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mapfield {version('mapfield')}\n"


def test_the_app_and_the_demo_are_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, option in ((["app", "sound"], "--categories"), (["demo"], "--output")):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, "--help"])
        assert not stopped.value.code
        assert option in capsys.readouterr().out
    (tmp_path / "mine.txt").write_text("")
    assert cli.main(["demo", "--output", str(tmp_path)]) == 2
    assert "holds files that are not of an earlier demo" in capsys.readouterr().err


def test_the_environment_names_places_versions_devices_and_caches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "/elsewhere/fonts")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy")
    assert cli.main(["env", "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert found["packages"]["nerf"].startswith(str(ROOT / "nerf"))
    assert found["libraries"]["torch"] == version("torch")
    assert set(found["extras"]) == set(EXTRAS)
    assert "cores" in found["devices"]["cpu"]
    assert "/elsewhere/fonts" in found["caches"].values()
    assert "secret" not in out


def test_extras_are_those_of_the_package() -> None:
    """Each module that an error may name is installed by the extra that it names, and all by "all" and "dev"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"]
    names = {"gradio": "gradio", "skimage": "scikit-image", "open_clip": "open-clip-torch"}
    for extra, modules in EXTRAS.items():
        listed = {re.split("[>=; ]", line)[0] for line in groups[extra]}
        assert {names.get(module, module) for module in modules} == listed
        assert listed.isdisjoint(re.split("[>=; ]", line)[0] for line in project["dependencies"])
    assert groups["all"] == [f"mapfield[{','.join(EXTRAS)}]"]
    assert groups["dev"][0] == "mapfield[all,docs,test]"
