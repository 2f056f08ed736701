"""The one writer of benchmark results: rows by key, where each was measured, and the tables made of them.

A script ``benchmarks/<capability>/<script>.py`` writes ``docs/results/<capability>/<script>.json``:

- ``settings``: what every row depends on. A file is continued with equal settings only.
- ``rows``: the figures, by key. A row that is there is not measured again.
- ``runs``: where rows were measured: date (UTC), commit, versions, hardware, and the rows' keys. What was not noted at
  the time is null; a "note" says where only a part of the rows is of that run.
- ``tables``: what the script prints and `docs/pages.py` shows.

The file is written whole after each row, so that an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from mappers.files import replacing
from mappers.tables import markdown_table

ROOT = Path(__file__).parents[2]
"""The checkout."""
RESULTS = ROOT / "docs" / "results"
IMAGES = ROOT / "docs" / "images"
RUNS = ROOT / "runs"
"""Where trained models of benchmarks are kept between calls."""
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow", "av")
"""Packages whose versions are noted."""
Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A table with a title; cells are shown as they are, floats with four digits, None as an empty cell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        """The table, below its title in bold."""
        return markdown_table(self.columns, self.rows, title=self.title)


class Results:
    """Rows of one benchmark by key, and the file that holds them.

    Args:
        path: of the JSON file; rows that are there are kept.
        settings: what every row depends on.

    Raises:
        ValueError: the file holds rows of other settings, or is not a file of results.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any] | None = None):
        self.path = path
        self.settings = json.loads(json.dumps(dict(settings or {}), default=str))
        self.rows: dict[str, Row] = {}
        self.runs: list[dict[str, Any]] = []
        self.tables: list[Table] = []
        self._read()

    def row(self, key: str, measure: Callable[[], Mapping[str, Any]]) -> Row:
        """The row of ``key``, measured and written if it is not there yet."""
        if key not in self.rows:
            self.put(key, measure())
        return self.rows[key]

    def put(self, key: str, row: Mapping[str, Any]) -> None:
        """Write a row, which replaces one of the same key, and print it."""
        self._read()  # another process may have measured other rows meanwhile
        self.rows[key] = dict(row)
        for run in self.runs:
            run["rows"] = [name for name in run["rows"] if name != key]
        here = origin()
        if not self.runs or any(self.runs[-1][name] != value for name, value in here.items()):
            self.runs.append({**here, "rows": []})
        self.runs[-1]["rows"].append(key)
        self.runs = [run for run in self.runs if run["rows"]]
        self._write()
        print(f"{key}: {json.dumps(row, default=str)}", flush=True)

    def report(self, *tables: Table) -> None:
        """Write the tables made of the rows, and print them in Markdown."""
        self.tables = list(tables)
        self._write()
        print("", *(table.markdown() for table in tables), sep="\n\n", flush=True)

    def _read(self) -> None:
        if not self.path.is_file():
            return
        saved = json.loads(self.path.read_text(encoding="utf-8"))
        if not isinstance(saved, dict) or not {"settings", "rows", "runs"} <= saved.keys():
            raise ValueError(f"{self.path} is not a file of benchmark results; choose another --output")
        if saved["settings"] != self.settings:
            names = sorted({*saved["settings"], *self.settings})
            other = [
                f"{name} {saved['settings'].get(name)}, not {self.settings.get(name)}"
                for name in names
                if saved["settings"].get(name) != self.settings.get(name)
            ]
            raise ValueError(
                f"{self.path} holds rows of other settings ({'; '.join(other)}); choose another --output or delete it"
            )
        self.rows, self.runs = {**saved["rows"]}, saved["runs"]
        self.tables = [Table(**table) for table in saved.get("tables", [])]

    def _write(self) -> None:
        whole = {
            "settings": self.settings,
            "runs": self.runs,
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "rows": self.rows,
        }
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")


def result_path(script: str | Path) -> Path:
    """Where the script of a ``__file__`` writes its results."""
    return RESULTS / Path(script).resolve().relative_to(ROOT / "benchmarks").with_suffix(".json")


def origin() -> dict[str, Any]:
    """Date (UTC), commit, versions and hardware of what is measured now."""
    return {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), "versions": versions(),
            "hardware": hardware()}  # fmt: skip


def commit() -> str | None:
    """The checkout's commit, with a "+" where files differ from it; None outside a checkout."""
    try:
        named = subprocess.run(["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
                               cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return named.stdout.strip() or None


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, the cores that this process may use, PyTorch's threads, and the GPU (None without one)."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def timed(work: Callable[[], T], clock: Callable[[], float] = time.process_time) -> tuple[T, float]:
    """What ``work`` returns, and the seconds that it took: the processor's, or those of another clock."""
    start = clock()
    done = work()
    return done, clock() - start


def median_seconds(
    work: Callable[[], object],
    *,
    repeats: int = 5,
    warm_up: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Median seconds of ``work`` over ``repeats`` calls, after ``warm_up`` calls that do not count."""
    for _ in range(warm_up):
        work()
    return statistics.median(timed(work, clock)[1] for _ in range(repeats))


def rounded(value: float | None, digits: int = 2) -> float | None:
    """A number to so many digits; None stays."""
    return None if value is None else round(value, digits)
