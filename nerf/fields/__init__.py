"""Radiance fields: one family a file, listed in `FIELDS`.

A new family is a `Field` subclass with a configuration dataclass and named sizes, and one entry below; the contract
tests, training, distillation and the command line then know it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mappers.files import replacing

from . import hash_grid, low_rank, mlp, voxel
from .base import Field, density_of, spherical_harmonics

__all__ = [
    "FIELDS",
    "Family",
    "Field",
    "FieldError",
    "build_field",
    "density_of",
    "load_field",
    "save_field",
    "spherical_harmonics",
]


class FieldError(ValueError):
    """A field's name, size or file is not usable; the message says why and what to do."""


@dataclass(frozen=True)
class Family:
    """A family's classes and its named sizes; "small" and "paper" are always there."""

    field: type[Field]
    config: type[Any]
    presets: dict[str, Any]


FIELDS: dict[str, Family] = {
    "hash": Family(hash_grid.HashField, hash_grid.HashConfig, hash_grid.PRESETS),
    "mlp": Family(mlp.MLPField, mlp.MLPConfig, mlp.PRESETS),
    "voxel": Family(voxel.VoxelField, voxel.VoxelConfig, voxel.PRESETS),
    "vm": Family(low_rank.VMField, low_rank.LowRankConfig, low_rank.VM_PRESETS),
    "cp": Family(low_rank.CPField, low_rank.LowRankConfig, low_rank.CP_PRESETS),
}


def build_field(name: str, bounds: Float[Tensor, "2 3"], size: str | Any = "small", *, seed: int = 0) -> Field:
    """A field with fresh weights.

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


def save_field(field: Field, path: Path, **metadata: str) -> None:
    """Write weights, sizes and bounds as one safetensors file, first under a temporary name."""
    header = {"family": field.name, "config": json.dumps(dataclasses.asdict(field.config)), **metadata}
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in field.state_dict().items()}, temporary, header)


def load_field(path: Path) -> Field:
    """Read what `save_field` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        FieldError: the file is cut short, is no field, or of an unknown family.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no field file {path}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        family = _family(header["family"])
        config = family.config(**json.loads(header["config"]))
        extra = {"kept": state["rows"] > 0} if header["family"] == "voxel" else {}
        field = family.field(state["bounds"], config, **extra)
        field.load_state_dict(state)
    except FieldError as error:
        raise FieldError(f"{path}: {error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FieldError(f"{path} is not a readable field ({error}); train or copy it again") from error
    return field


def _family(name: str) -> Family:
    if name not in FIELDS:
        raise FieldError(f"unknown field {name!r}; known are {', '.join(FIELDS)}")
    return FIELDS[name]
