"""Checkpoints of other programs as fields that teach and are drawn: TensoRF's ``.th`` and Plenoxels' ``.npz``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..fields import VolumeField
from .plenoxels import read_plenoxels
from .tensorf import read_tensorf

CHECKPOINTS: dict[str, Callable[[Path], VolumeField]] = {".th": read_tensorf, ".npz": read_plenoxels}
"""Readers by ending."""
