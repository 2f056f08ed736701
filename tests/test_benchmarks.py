"""The benchmarks as commands: all are scripts with described options, and the overview names them."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from benchmarks.common.results import ROOT
from mappers.command_line import run_script

SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").glob("*/*.py") if "run_script(main)" in path.read_text(encoding="utf-8")
)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_script_with_results_is_a_command() -> None:
    written = {path.relative_to(ROOT / "docs" / "results") for path in (ROOT / "docs" / "results").rglob("*.json")}
    assert written <= {path.relative_to(ROOT / "benchmarks").with_suffix(".json") for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=module_of)
def test_every_option_is_typed_and_described(path: Path) -> None:
    """Read, not imported: all scripts together import more than tests that are fast may."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    described = (ast.get_docstring(main) or "").partition("Args:")[2]
    for argument in [*main.args.posonlyargs, *main.args.kwonlyargs]:
        assert argument.annotation is not None, argument.arg
        assert f"\n    {argument.arg}: " in described, f"{argument.arg} has no help"
    assert not main.args.args, "options are keywords"


@pytest.mark.parametrize("name", ["compression.photos", "nano.world"])
def test_a_script_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_help(f"benchmarks.{name}", capsys)


@pytest.mark.slow
def test_every_script_answers_help(capsys: pytest.CaptureFixture[str]) -> None:
    for path in SCRIPTS:
        assert_help(module_of(path), capsys)


def assert_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    with pytest.raises(SystemExit) as stopped:
        run_script(module.main, ["--help"])
    assert stopped.value.code == 0
    assert f"python -m {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("path", SCRIPTS, ids=module_of)
def test_the_overview_names_every_script(path: Path) -> None:
    overview = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert f"`{path.parent.name}.{path.stem}`" in overview
