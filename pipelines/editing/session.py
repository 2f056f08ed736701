"""The history of an editing session, and its safetensors file, which is replaced completely at each write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mappers.files import replacing

FORMAT = "1"


@dataclass(frozen=True)
class Step:
    """Codes, and the name of the action that gave them."""

    label: str
    """Text of the edit, or "exemplar", "picture", "codes", "instance 3", "sample 5"."""
    shape_code: Float[Tensor, " s"]
    appearance_code: Float[Tensor, " a"]


@dataclass
class History:
    """Steps of a session; one is current, and later ones can be redone."""

    steps: list[Step]
    current: int = 0

    @property
    def now(self) -> Step:
        """The current step."""
        return self.steps[self.current]

    def add(self, step: Step) -> None:
        """Append a step after the current one; later steps are dropped."""
        self.steps = [*self.steps[: self.current + 1], step]
        self.current += 1

    def undo(self) -> None:
        """Make the previous step current.

        Raises:
            ValueError: the current step is the first.
        """
        if not self.current:
            raise ValueError("there is nothing to undo: this is the session's first step")
        self.current -= 1

    def redo(self) -> None:
        """Make the next step current.

        Raises:
            ValueError: the current step is the last.
        """
        if self.current + 1 == len(self.steps):
            raise ValueError("there is nothing to redo: this is the session's last step")
        self.current += 1


@dataclass(frozen=True)
class Saved:
    """Content of a session's file."""

    history: History
    model: str
    """Id or folder of the category model."""
    space: str
    """Id of the field (`ConditionalModel.space`)."""


def save_session(path: str | Path, history: History, model: str, space: str) -> None:
    """Write a session; an interrupted write leaves the old file.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {
        "shape_codes": torch.stack([step.shape_code for step in history.steps]).contiguous(),
        "appearance_codes": torch.stack([step.appearance_code for step in history.steps]).contiguous(),
    }
    metadata = {
        "format": FORMAT,
        "model": model,
        "space": space,
        "current": str(history.current),
        "labels": json.dumps([step.label for step in history.steps]),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_session(path: str | Path) -> Saved:
    """Read what `save_session` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged or no session.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no saved edit {path}; save one with editor.save")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            shapes, appearances = file.get_tensor("shape_codes"), file.get_tensor("appearance_codes")
        if header.get("format") != FORMAT:
            raise ValueError(f"it has format {header.get('format')}, this program reads {FORMAT}")
        labels, current = json.loads(header["labels"]), int(header["current"])
        if not len(labels) == len(shapes) == len(appearances) > current >= 0:
            raise ValueError("its steps do not fit together")
        steps = [Step(*parts) for parts in zip(labels, shapes, appearances, strict=True)]
        return Saved(History(steps, current), header["model"], header["space"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a saved edit that can be read ({error}); save it again") from error
