"""mkdocs hook: results of benchmarks in pages, and pages that are made: all benchmarks, and every command's help.

How a page shows results: a line of its own, which GitHub does not show,

    <!-- results: compression/photos -->

is replaced by where, when and from which commit `benchmarks/compression/photos.py` measured, a link to
``docs/results/compression/photos.json``, and the tables of that file. Three forms:

    <!-- results: compression/photos -->               one script: origin and all its tables
    <!-- results: compression/photos | Crops -->       one script: origin and the table with this title
    <!-- results: compression -->                      every script of the folder, each under a heading (##) of its own

A ``results.md`` therefore needs a title, a sentence or two, and one such line. A name that does not exist stops the
build with a message that lists those that do. Files without tables are shown row by row.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from mappers.tables import markdown_table

RESULTS = Path(__file__).parent / "results"
SCRIPTS = Path(__file__).parents[1] / "benchmarks"
MARK = re.compile(r"^<!-- results: *([\w/]+) *(?:\| *(.+?) *)?-->$", re.MULTILINE)
"""A line that results take the place of: a folder or a script, and a table's title."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages."""
    files.append(File.generated(config, "benchmarks.md", content=benchmarks()))
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put results where a page asks for them."""
    folder = posixpath.dirname(page.file.src_uri)
    return MARK.sub(lambda mark: results(mark[1], mark[2], folder), markdown)


def benchmarks() -> str:
    """The page of all results: a part for each capability."""
    parts = [
        "# Benchmarks\n\nWhat `python -m benchmarks.CAPABILITY.SCRIPT` measured, with hardware and commit. What the"
        " numbers mean, and which targets are missed, is said on the pages of each capability."
    ]
    for folder in sorted(path.name for path in RESULTS.iterdir() if path.is_dir()):
        parts.append(f"## {folder.capitalize()}\n\n<!-- results: {folder} -->")
    return "\n\n".join(parts) + "\n"


def results(name: str, title: str | None, page_folder: str) -> str:
    """Results of a script (``compression/photos``), of one of its tables, or of all scripts of a folder.

    Args:
        name: a folder or a file of ``docs/results``, without its ending.
        title: of the one table that is shown.
        page_folder: of the page, below ``docs``, for links.

    Raises:
        PluginError: there is no such file or table.
    """
    if (RESULTS / name).is_dir() and title is None:
        parts = []
        for path in sorted((RESULTS / name).glob("*.json")):
            script = f"{name}/{path.stem}"
            heading = f"{name}: {path.stem}".replace("_", " ")
            parts += [
                f"### {heading[0].upper()}{heading[1:]}",
                f"{_purpose(script)}",
                results(script, None, page_folder),
            ]
        return "\n\n".join(part for part in parts if part)
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        known = sorted(str(path.relative_to(RESULTS).with_suffix("")) for path in RESULTS.rglob("*.json"))
        raise PluginError(f"there are no results {name!r}; there are {', '.join(known)}")
    found = json.loads(path.read_text(encoding="utf-8"))
    link = posixpath.relpath(f"results/{name}.json", page_folder or ".")
    head = f"`python -m benchmarks.{name.replace('/', '.')}` ([all numbers]({link})): {origin(found['runs'])}"
    shown = [table for table in found["tables"] if title in (None, table["title"])]
    if title is not None and not shown:
        titles = ", ".join(repr(table["title"]) for table in found["tables"]) or "none"
        raise PluginError(f"docs/results/{name}.json has no table {title!r}; it has {titles}")
    if not found["tables"]:
        return "\n\n".join([head, *_rows_as_tables(found["rows"])])
    return "\n\n".join(
        [head, *(markdown_table(table["columns"], table["rows"], title=table["title"]) for table in shown)]
    )


def origin(runs: Sequence[Mapping[str, Any]]) -> str:
    """Hardware, versions, commit and date of every run of a benchmark, in words."""
    said = []
    for run in runs:
        machine, packages = run["hardware"], run["versions"] or {}
        known = [
            machine["gpu"],
            machine["processor"],
            machine["cores"] and f"{machine['cores']} cores",
            machine["threads"] and f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}",
            "torch" in packages and f"torch {packages['torch']}",
            run["commit"] and f"commit `{run['commit']}`",
            run["date"],
            run.get("note"),
        ]
        missing = [
            what for what, value in (("commit", run["commit"]), ("processor", machine["processor"])) if not value
        ]
        words = [word for word in known if word]
        if missing:
            words.append(f"{' and '.join(missing)} not recorded")
        said.append(", ".join(words))
    return "; ".join(dict.fromkeys(said)) + "."


def _purpose(script: str) -> str:
    """The first sentence of a script's docstring, without the command."""
    path = SCRIPTS / f"{script}.py"
    if not path.is_file():
        raise PluginError(f"docs/results/{script}.json was written by benchmarks/{script}.py, which does not exist")
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return " ".join(re.split(r":? ``python", first)[0].split()).rstrip(".:") + "."


def _rows_as_tables(value: Mapping[str, Any], title: str = "") -> list[str]:
    """Numbers of a mapping as tables: single ones in one, mappings of them as its rows, deeper ones one by one."""
    value = {name: _without_long(inner) for name, inner in value.items() if not _long(inner)}
    if value and all(isinstance(inner, Mapping) and _flat(inner) for inner in value.values()):
        columns = list(dict.fromkeys(name for inner in value.values() for name in inner))
        return [
            markdown_table(
                ["", *columns], [[name, *(inner.get(c) for c in columns)] for name, inner in value.items()], title=title
            )
        ]
    single = {name: inner for name, inner in value.items() if not isinstance(inner, Mapping)}
    parts = [markdown_table(["", "value"], [list(item) for item in single.items()], title=title)] if single else []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            parts += _rows_as_tables(inner, f"{title}, {name}" if title else name)
    return parts


def _without_long(value: Any) -> Any:
    """A mapping without the lists that are too long for a page."""
    return {name: one for name, one in value.items() if not _long(one)} if isinstance(value, Mapping) else value


def _long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 20


def _flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(inner, Mapping) for inner in value.values())


def command_line() -> str:
    """The help of every command, as it is printed."""
    from mapfield.cli import main
    from mapfield.commands import Command
    from nerf import cli as fields

    parts = [
        "# Command line\n\nThe help of every command, as it is printed. Tab completion: see"
        " [the quick start](../quick-start.md#on-the-command-line)."
    ]
    tasks = [[name] for name in _names(Command) if name != "nerf"]
    for words in [*tasks, *(["nerf", name] for name in _names(fields.Command))]:
        parts.append(f"## mapfield {' '.join(words)}\n\n```text\n{_help(main, words)}\n```")
    return "\n\n".join(parts) + "\n"


def _names(commands: Any) -> list[str]:
    """Names of tyro's subcommands in a union."""
    return [next(note.name for note in one.__metadata__ if hasattr(note, "name")) for one in commands.__args__]


def _help(main: Any, words: Sequence[str]) -> str:
    printed = io.StringIO()
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return printed.getvalue().strip()
