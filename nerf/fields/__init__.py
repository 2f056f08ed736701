"""Radiance fields: one family a file, listed in `FIELDS`.

A new family is a `VolumeField` with a configuration dataclass and named sizes, and one entry below; the contract
tests, training, distillation and the command line then include it. Splats are the one family without a density at
points: `nerf.splats` trains and draws them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mappers.files import replacing

from . import cam, cam_time, hash_grid, low_rank, mlp, splat, voxel
from .base import Field, FieldError, VolumeField, density_of, spherical_harmonics

__all__ = [
    "FIELDS",
    "Family",
    "Field",
    "FieldError",
    "VolumeField",
    "build_field",
    "density_of",
    "load_field",
    "moving_family",
    "read_field",
    "restore_field",
    "save_field",
    "spherical_harmonics",
]


Built = TypeVar("Built")


class Saved(Protocol):
    """What `save_field` can write: a module with a family's name and a configuration of plain values."""

    name: ClassVar[str]
    config: Any

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Family:
    """A family's classes and its named sizes; "small" and "paper" are always there."""

    field: type[Field]
    config: type[Any]
    presets: dict[str, Any]
    moving: str | None = None
    """The family that is used for it in scenes that move; None if there is none."""


FIELDS: dict[str, Family] = {
    "hash": Family(hash_grid.HashField, hash_grid.HashConfig, hash_grid.PRESETS),
    "mlp": Family(mlp.MLPField, mlp.MLPConfig, mlp.PRESETS),
    "voxel": Family(voxel.VoxelField, voxel.VoxelConfig, voxel.PRESETS),
    "vm": Family(low_rank.VMField, low_rank.LowRankConfig, low_rank.VM_PRESETS),
    "cp": Family(low_rank.CPField, low_rank.LowRankConfig, low_rank.CP_PRESETS),
    "cam": Family(cam.CAMField, cam.CAMConfig, cam.PRESETS, moving="cam-time"),
    "cam-time": Family(cam_time.CAMTimeField, cam_time.CAMTimeConfig, cam_time.PRESETS, moving="cam-time"),
    "splat": Family(splat.SplatField, splat.SplatConfig, splat.PRESETS),
}


def build_field(name: str, bounds: Float[Tensor, "2 3"], size: str | Any = "small", *, seed: int = 0) -> Field:
    """A field with new random weights.

    Args:
        name: a family of `FIELDS`.
        bounds: lower and upper corner of its box.
        size: a named size ("small", "paper") or an instance of the family's configuration.
        seed: seed of the weights.

    Raises:
        FieldError: no such family or size; the message lists what exists.
    """
    family = _family(name)
    if isinstance(size, str):
        if size not in family.presets:
            raise FieldError(f"{name} has no size {size!r}; known are {', '.join(family.presets)}")
        size = family.presets[size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.field(bounds, size)


def moving_family(name: str) -> str:
    """The family that is used for ``name`` in scenes that move.

    Raises:
        FieldError: there is none.
    """
    found = _family(name).moving
    if found is None:
        able = ", ".join(other for other, family in FIELDS.items() if family.moving)
        raise FieldError(f"the scene moves and {name} fields do not; use {able}")
    return found


def save_field(field: Saved, path: Path, **metadata: str) -> None:
    """Write weights, sizes and bounds as one safetensors file, first under a temporary name."""
    header = {"family": field.name, "config": json.dumps(dataclasses.asdict(field.config)), **metadata}
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in field.state_dict().items()}, temporary, header)


def load_field(path: Path) -> Field:
    """Read what `save_field` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        FieldError: the file is incomplete, is not a field, or is of an unknown family.
    """
    return read_field(path, restore_field)


def read_field(path: Path, restore: Callable[[str, dict[str, Any], dict[str, Tensor]], Built]) -> Built:
    """Read a file of `save_field` with the restoring function of its kind of field.

    Args:
        path: the file.
        restore: a family's name, its configuration by name, and tensors, to a field.

    Raises:
        FileNotFoundError: there is no such file.
        FieldError: the file is incomplete, is not a field, or is of an unknown family.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no field file {path}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return restore(header["family"], json.loads(header["config"]), state)
    except FieldError as error:
        raise FieldError(f"{path}: {error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FieldError(f"{path} is not a readable field ({error}); train or copy it again") from error


def restore_field(name: str, config: dict[str, Any], state: dict[str, Tensor]) -> Field:
    """A field from the name of its family, its configuration as a dictionary, and its tensors.

    Raises:
        FieldError: the family is unknown.
        KeyError, TypeError, ValueError, RuntimeError: configuration and tensors are not those of a field.
    """
    family = _family(name)
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise FieldError(f"the weights {broken[0]} are not finite; train again, with a lower learning rate")
    return family.field.from_state(family.config(**config), state)


def _family(name: str) -> Family:
    if name not in FIELDS:
        raise FieldError(f"unknown field {name!r}; known are {', '.join(FIELDS)}")
    return FIELDS[name]
