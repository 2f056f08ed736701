"""The manual and the README: their commands parse, their Python compiles, and the names it imports exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

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
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    if not hasattr(module, name.name):
                        importlib.import_module(f"{node.module}.{name.name}")
