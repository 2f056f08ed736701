"""mkdocs hook: pages that are made, not written: tables of ``docs/results/*.json``, and the help of every command."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTES = {
    "compression": "Lists are pairs of bits per pixel and PSNR in dB.",
    "editing": "Seconds are of one thread beside other work.",
    "personalization": "Pairs are the mean over objects and half the width of its 95 % interval.",
}
"""What a reader of the numbers has to know, where the names in the file do not say it."""
HIDDEN = {"rows"}
"""Parts of a file that are too long for a page: single objects; the JSON has them."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages."""
    results = sorted((Path(config.docs_dir) / "results").glob("*.json"))
    files.append(File.generated(config, "benchmarks.md", content=benchmarks(results)))
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    return files


def benchmarks(results: Sequence[Path]) -> str:
    """One section for each file."""
    parts = [
        "# Benchmarks\n\nWhat `benchmarks/NAME.py` wrote to `docs/results/NAME.json`, as it is. What the numbers mean,"
        " on which machine they were measured, and which targets are missed, is said on the page of each capability."
    ]
    for path in results:
        script = next(
            (f"`benchmarks/{name}.py`" for name in (path.stem, f"{path.stem}_quality")
             if (path.parents[2] / "benchmarks" / f"{name}.py").is_file()), "a script",
        )  # fmt: skip
        title = path.stem.replace("_", "-")
        note = NOTES.get(path.stem, "")
        parts.append(f"## {title}\n\nBy {script}; [the file](results/{path.name}). {note}")
        parts += tables(json.loads(path.read_text(encoding="utf-8")))
    return "\n\n".join(parts) + "\n"


def tables(value: Mapping[str, Any], title: str = "") -> list[str]:
    """Numbers of a mapping as tables: single ones in one, mappings of them as its rows, deeper ones one by one."""
    value = {name: inner for name, inner in value.items() if name not in HIDDEN}
    head = [f"**{title}**"] if title else []
    if value and all(isinstance(inner, Mapping) and _flat(inner) for inner in value.values()):
        columns = list(dict.fromkeys(name for inner in value.values() for name in inner))
        rows = [[name, *(inner.get(column) for column in columns)] for name, inner in value.items()]
        return [*head, _table(["", *columns], rows)]
    single = {name: inner for name, inner in value.items() if not isinstance(inner, Mapping)}
    parts = [*head, _table(["", "value"], [list(item) for item in single.items()])] if single else []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            parts += tables(inner, f"{title}, {name}" if title else name)
    return parts


def _flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(inner, Mapping) for inner in value.values())


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "; ".join(f"({_cell(one)})" if isinstance(one, list) else _cell(one) or "-" for one in value)
    return str(value)


def command_line() -> str:
    """The help of every command, as it is printed."""
    from nerf import cli as fields
    from pipelines import command

    parts = [
        "# Command line\n\n`mapfield COMMAND` is `python -m pipelines COMMAND`, and `mapfield nerf COMMAND` is"
        " `python -m nerf COMMAND`. Tab completion: see [the quick start](../quick-start.md#on-the-command-line)."
    ]
    tasks = [[name] for name in _names(command.tasks.Command)]
    for words in [*tasks, *(["nerf", name] for name in _names(fields.Command))]:
        parts.append(f"## mapfield {' '.join(words)}\n\n```text\n{_help(command.main, words)}\n```")
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
