"""The output folder of a training, in which it replaces nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..files import files_in, refuse_filled, writable_folder
from .monitoring import TrainingError
from .run_report import REPORT

UNFINISHED = "unfinished"
"""Begins the names of folders with what is left of runs that ended before their first checkpoint."""
LOGS = re.compile(r"metrics\.jsonl|events\.out\.tfevents\..*")
SAMPLES = re.compile(r"step_\d{6,}_.*\.png")
"""Names of the files that the trainer writes besides checkpoints."""
MARKS = (REPORT, "checkpoints", "stage_0")
"""Names of which one is in every folder that holds a run."""


def run_folder(
    folder: str | Path | None,
    *,
    resume: bool | Literal["auto"] = False,
    besides: Sequence[str] = (),
    overwrite: bool = False,
) -> Path | None:
    """The output folder of a training, made and tried before any work; None writes nothing.

    A folder that has only the logs of a run that ended before its first checkpoint may be used again: those are moved
    to a folder ``unfinished_1`` in it.

    Args:
        folder: of the run; new or empty.
        resume: the run goes on with its own files.
        besides: names that may be there.
        overwrite: other files may be there too, and those of the same names may be replaced.

    Raises:
        TrainingError: the folder holds a run, and ``resume`` is not set.
        FileExistsError: the folder holds other files, and neither ``resume`` nor ``overwrite`` is set.
        OSError: nothing can be written there.
    """
    if folder is None:
        return None
    folder = Path(folder).expanduser()
    if resume is not True and (left := _left_of_unfinished_runs(folder, besides)):
        _set_aside(folder, left)
        besides = (*besides, *(path.name for path in folder.glob(f"{UNFINISHED}_*")))
    if not resume and any((folder / name).exists() for name in MARKS):
        raise TrainingError(f"{folder} already holds a run; resume it or choose another output folder")
    if not resume:
        refuse_filled(folder, besides=besides, overwrite=overwrite)
    return writable_folder(folder)


def _left_of_unfinished_runs(folder: Path, besides: Sequence[str]) -> list[Path]:
    """The files and folders in a run's folder, if all files in them are logs; else none, as also in a new folder."""
    found = [path for path in folder.glob("*") if path.name not in besides] if folder.is_dir() else []
    visible = [path for path in found if not path.name.startswith(".")]
    files = [path for path in visible if path.is_file()]
    files += [file for path in visible if path.is_dir() for file in files_in(path, recursive=True)]
    # In the folder of a save that was interrupted, which has a hidden name, nothing can be used.
    logs = [file for file in files if LOGS.fullmatch(file.name) and _is_ours(file)]
    others = [file for file in files if file not in logs and not SAMPLES.fullmatch(file.name)]
    return visible if logs and not others else []


def _is_ours(log: Path) -> bool:
    """Whether a log has what the trainer writes: another file of that name may be the user's."""
    if log.suffix != ".jsonl":
        return True
    with log.open("rb") as stream:
        first = stream.readline(4096)
    return not first or first.startswith(b'{"step":')


def _set_aside(folder: Path, left: Sequence[Path]) -> None:
    """Move ``left`` into a new folder in ``folder``, but for what earlier runs left there."""
    moved = [path for path in left if not path.name.startswith(UNFINISHED)]
    if not moved:
        return
    number = 1
    while (folder / f"{UNFINISHED}_{number}").exists():
        number += 1
    aside = folder / f"{UNFINISHED}_{number}"
    aside.mkdir(exist_ok=True)
    for path in moved:
        with suppress(FileNotFoundError):  # another process of the same training moved it
            path.rename(aside / path.name)
    with suppress(OSError):  # it has files, if this process was the first
        aside.rmdir()
