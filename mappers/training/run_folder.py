"""The output folder of a training, in which it replaces nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..files import refuse_filled, writable_folder
from .monitoring import TrainingError
from .run_report import REPORT

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
    if not resume and any((folder / name).exists() for name in MARKS):
        raise TrainingError(f"{folder} already holds a run; resume it or choose another output folder")
    if not resume:
        refuse_filled(folder, besides=besides, overwrite=overwrite)
    return writable_folder(folder)
