"""The manual and all other texts: their commands parse, their Python compiles, and the names that it uses exist."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import io
import json
import re
import shlex
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tyro

from mapfield.cli import main
from mapfield.commands import Command
from mappers.command_line import parse, read_draft

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOPS = ("mappers", "nerf", "pipelines", "demos", "benchmarks")
CARDS = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.md"))]
SOURCES = [path for top in (*TOPS, "mapfield") for path in sorted((ROOT / top).rglob("*.py"))]
SETTINGS = sorted((ROOT / "configs").rglob("*.yaml"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)([^`]+)\1")
OURS = re.compile(r"(?:^|[/ ])mapfield (?!mapfield )")
SCRIPT = re.compile(rf"-m ((?:{'|'.join(TOPS)})(?:\.[a-z_0-9]+)+)(?![\w.<]) ?(.*)")
OF_ALL = {"-h", "--help", "--debug", "--no-debug", "--version", "--tyro-print-completion"}


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


@functools.cache
def spans(path: Path) -> list[str]:
    """Code within running text: between backticks, and in YAML the end of a comment from ``python -m`` on."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        return re.findall(r"python -m [^#\n]*", text)
    if "mapfield " not in text and "python -" not in text:
        return []  # most sources: finding their texts takes long
    texts = [FENCE.sub("", text)] if path.suffix == ".md" else _texts(text)
    return [" ".join(code.split()) for one in texts for _, code in SPAN.findall(one)]


def _texts(source: str) -> list[str]:
    """Docstrings, other strings and comments of a module."""
    strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    return [one for one in strings if isinstance(one, str)] + comments


def words_of(code: str) -> list[str]:
    """The words of a command in running text without the signs for "optional" and "and so on"."""
    return [word for word in re.sub(r"[\[\]]|\.\.\.", " ", code).split() if word]


def options_in(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def test_commands_in_running_text_exist() -> None:
    """Every ``mapfield COMMAND --option`` between backticks; required options may be missing there."""
    pinned = json.loads((ROOT / "tests" / "expected" / "commands.json").read_text(encoding="utf-8"))
    wrong = []
    for path in (*PAGES, *CARDS, *SOURCES):
        for code in spans(path):
            for line in re.split(r"&&|\|(?= )", code):
                ours = re.match(r"(?:mapfield|python -m mapfield) (.*)", line.strip())
                if ours and (said := wrong_words(words_of(ours[1]), pinned)):
                    wrong.append(f"{path.relative_to(ROOT)}: {code}: {said}")
    assert wrong == []


def wrong_words(words: list[str], pinned: dict[str, str]) -> str:
    """What a command line has that no command of ``pinned`` has; empty if nothing."""
    plain = [word for word in words if not word.startswith("-")]
    if words[:1] == ["COMMAND"] or words[:1] == ["--tyro-print-completion"]:
        return ""
    names = ["mapfield " + " ".join(plain[:count]) for count in range(len(plain), 0, -1)]
    flags = next((flags for name in names for known, flags in pinned.items() if known == name), None)
    if flags is None:
        group = not plain or any(known.startswith(f"mapfield {' '.join(plain)} ") for known in pinned)
        flags = "" if group else None
    if flags is None:
        return "no such command"
    return " ".join(sorted(options_in(words) - OF_ALL - set(flags.split())))


def scripts() -> dict[str, list[tuple[str, str]]]:
    """Lines ``python -m MODULE ...`` of all texts by module: where they are, and the rest of the line.

    Those of shell blocks are whole and end with a semicolon here; others may leave out what is required.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for path in (*PAGES, *CARDS, *SOURCES, *SETTINGS):
        whole = [line for block in (blocks(path, "", "sh") if path.suffix == ".md" else ())
                 for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
        for line, end in [*((line, ";") for line in whole), *((code, "") for code in spans(path))]:
            if ours := SCRIPT.search(line):
                found.setdefault(ours[1], []).append((str(path.relative_to(ROOT)), ours[2] + end))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(scripts()))
def test_scripts_of_the_texts_take_their_words(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = importlib.import_module(module).main

    @functools.wraps(run)
    def only_parse(*args: Any, **options: Any) -> None:
        pass

    with pytest.raises(SystemExit):
        tyro.cli(only_parse, args=["--help"], prog="script")
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w.-]*", capsys.readouterr().out))
    for where, rest in scripts()[module]:
        words = words_of(rest.rstrip(";"))
        assert options_in(words) <= known, f"{where}: {module} {rest}"
        if rest.endswith(";") and "..." not in rest:
            tyro.cli(only_parse, args=shlex.split(rest.rstrip(";"), comments=True), prog="script")


def test_commands_have_one_spelling() -> None:
    """``python -m nerf`` looks into the working folder first, where another package of this name may lie."""
    other = re.compile(r"(?<![\w-])-m (?:pipelines|nerf|demos)(?![.\w])")
    paths = [path for path in (*PAGES, *CARDS, *SOURCES) if path.stem != "__main__"]
    texts = {path: path.read_text(encoding="utf-8") for path in (*paths, *SETTINGS)}
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
