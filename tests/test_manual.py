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

from mapfield.cli import main
from mapfield.commands import Command
from mappers.command_line import parse, read_draft

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
OURS = re.compile(r"(?:^|[/ ])mapfield (?!mapfield )")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for indent, language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, "", "sh"):
            for line in re.split(r"\n|&&", block.replace("\\\n", " ")):
                ours = OURS.search(line.strip())
                if ours and "..." not in line:
                    found.append((str(page.relative_to(ROOT)), line.strip()[ours.end() :]))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_parses(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_settings.yaml").write_text("method: neti\n")
    words = shlex.split(line.partition(" > ")[0], comments=True)
    if words == ["--version"]:
        assert main(words) == 0
    elif {"--help", "--tyro-print-completion"} & set(words):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert not stopped.value.code
    else:
        parse(Command, words, prog="mapfield", draft=read_draft(Command, words))


def test_commands_have_one_spelling() -> None:
    """``python -m nerf`` looks into the working folder first, where another package of this name may lie."""
    other = re.compile(r"python -m (?:pipelines|nerf|demos)(?![.\w])")
    modules = [path for top in ("mappers", "nerf", "pipelines") for path in (ROOT / top).rglob("*.py")]
    cards = [path for top in ("nerf", "pipelines") for path in (ROOT / top).rglob("*.md")]
    texts = {path: path.read_text(encoding="utf-8") for path in (*PAGES, *cards, *modules) if path.stem != "__main__"}
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if other.search(text)] == []


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
