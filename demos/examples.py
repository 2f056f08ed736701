"""Finished results of the tabs' default settings, part of the package: what a page shows at a visitor's first visit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from . import records
from .records import Record

FOLDER = Path(__file__).parent / "finished"
"""One folder for each job, as the app itself left it; ``python -m demos.finish`` makes them anew."""
EXAMPLE = "example"
"""Name of the example's word in lists of words."""


@lru_cache(maxsize=1)
def finished() -> tuple[Record, ...]:
    """The examples that are part of this installation."""
    found = [records.load(path.parent) for path in sorted(FOLDER.glob(f"*/{records.RECORD}"))]
    return tuple(record for record in found if record is not None)


def example_word() -> Record | None:
    """The learned word among them."""
    return next((record for record in finished() if "concept" in record.made), None)


def latest(own: list[Record]) -> list[Record]:
    """For each job of each tab the newest of a visitor's records, the example where there is none."""
    newest: dict[tuple[str, str], Record] = {}
    for record in [*own, *finished()]:
        newest.setdefault((record.tab, record.job), record)
    return list(newest.values())
