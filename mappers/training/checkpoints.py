"""Atomic training checkpoints of safetensors and JSON: nothing in them can run code.

A checkpoint ``step_000250/`` holds ``weights.safetensors``, ``optimizer.safetensors``, ``state.json`` and, with
an average of the weights, ``ema.safetensors``. It is written under a temporary name and renamed when complete,
so that a process killed in mid-save leaves the one before it as the latest.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT = 1
_NAME = re.compile(r"step_(\d{6,})")
_TENSORS = ("weights", "optimizer", "ema")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names the file and the remedy."""


@dataclass
class Checkpoint:
    """What a run needs to go on as if it had never stopped.

    All draws are keyed by (seed, step), so ``step`` is the position of the sampler and, with the ``seed`` in
    ``state``, of every random generator as well.
    """

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    ema: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def flatten_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state into tensors named ``parameter|slot`` and plain parameter groups."""
    tensors: dict[str, Tensor] = {}
    for name, slots in state["state"].items():
        for slot, value in slots.items():
            tensors[f"{name}|{slot}"] = torch.as_tensor(value).contiguous()
    return tensors, [dict(group) for group in state["param_groups"]]


def unflatten_optimizer(tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The inverse of :func:`flatten_optimizer`."""
    state: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, slot = name.rsplit("|", 1)
        state.setdefault(parameter, {})[slot] = value
    return {"state": state, "param_groups": groups}


def save(folder: Path, checkpoint: Checkpoint, keep_last: int) -> Path:
    """Write ``checkpoint`` below ``folder`` and delete all but the newest ``keep_last``.

    Raises:
        CheckpointError: the disk is full or the folder is not writable; earlier checkpoints stay as they were.
    """
    final = folder / f"step_{checkpoint.step:06d}"
    temporary = folder / f".writing-{final.name}-{os.getpid()}"
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        for name in _TENSORS:
            tensors = getattr(checkpoint, name)
            if tensors or name == "weights":
                path = temporary / f"{name}.safetensors"
                save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, path)
                _flush(path)
        state = {"format": FORMAT, "step": checkpoint.step, **checkpoint.state}
        (temporary / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
        _flush(temporary / "state.json")
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        raise CheckpointError(
            f"could not write the checkpoint {final}: {reason}; earlier checkpoints are intact, "
            "make room or choose another output folder, then resume"
        ) from error
    for stale in folder.glob(".writing-*"):
        shutil.rmtree(stale, ignore_errors=True)
    for old in steps(folder)[:-keep_last]:
        shutil.rmtree(folder / f"step_{old:06d}", ignore_errors=True)
    return final


def steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in ``folder``, in rising order."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(child.name) for child in folder.iterdir() if child.is_dir())
    return sorted(int(match[1]) for match in names if match)


def load(folder: Path, step: int | None = None) -> Checkpoint:
    """Read the checkpoint of ``step`` (the newest when None) in ``folder``.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds a file that does not belong there.
    """
    found = steps(folder)
    if not found or (step is not None and step not in found):
        wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
        raise CheckpointError(f"no {wanted} in {folder}; found steps {found}")
    path = folder / f"step_{found[-1] if step is None else step:06d}"
    expected = {"state.json", *(f"{name}.safetensors" for name in _TENSORS)}
    for child in path.iterdir():
        if child.name not in expected or not child.is_file():
            raise CheckpointError(
                f"refusing the checkpoint {path}: {child.name} does not belong in it; "
                "delete that file if you trust the rest"
            )
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tensors = {
            name: load_file(path / f"{name}.safetensors") if (path / f"{name}.safetensors").exists() else {}
            for name in _TENSORS
        }
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({error}); delete that folder and resume from the one before it"
        ) from error
    if state.pop("format", None) != FORMAT or not tensors["weights"]:
        raise CheckpointError(f"the checkpoint {path} is not one of ours (format {FORMAT}); start a new run")
    return Checkpoint(step=state.pop("step"), state=state, **tensors)


def _flush(path: Path) -> None:
    """Force a file onto the disk: a rename alone may outlive the data it points to."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
