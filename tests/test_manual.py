"""The manual and the README: their commands parse, their Python compiles, and the names that it uses exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mappers.command_line import parse, read_draft
from pipelines import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
OURS = ("python -m pipelines ", "python -m nerf ", "mapfield ")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for indent, language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "", "sh"):
            for line in re.split(r"\n|&&", block.replace("\\\n", " ")):
                start = next((line.index(ours) for ours in OURS if ours in line), None)
                if start is not None and "..." not in line:
                    found.append((str(page.relative_to(ROOT)), line[start:]))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_parses(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_settings.yaml").write_text("method: neti\n")
    for ours in OURS:
        line = line.replace(ours, "nerf " if "nerf" in ours else "", 1)
    words = shlex.split(line.partition(" > ")[0], comments=True)
    if {"--help", "--tyro-print-completion"} & set(words):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert not stopped.value.code
    else:
        parse(cli.Command, words, prog="mapfield", draft=read_draft(cli.Command, words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_compiles_and_its_imports_exist(page: Path) -> None:
    imported: dict[str, Any] = {}
    for block in blocks(page, "python"):
        nodes = list(ast.walk(ast.parse(block)))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= _imported(node)
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = imported.get(node.value.id)
                assert not inspect.ismodule(owner) or hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, Any]:
    """What a statement imports, by the names that it binds."""
    bound: dict[str, Any] = {}
    for name in node.names:
        if isinstance(node, ast.Import):
            module = importlib.import_module(name.name)
            whole = module if name.asname else importlib.import_module(name.name.partition(".")[0])
            bound[name.asname or name.name.partition(".")[0]] = whole
        else:
            module = importlib.import_module(str(node.module))
            if not hasattr(module, name.name):
                importlib.import_module(f"{node.module}.{name.name}")
            bound[name.asname or name.name] = getattr(module, name.name)
    return bound
