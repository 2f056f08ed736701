"""Options that functions of `pipelines.editing` share with the command edit-nerf. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mappers.options import OutputOptions


@dataclass(frozen=True, kw_only=True)
class ObjectOptions:
    """Arguments of `pipelines.edit_nerf` that the command has too: which object, and which models edit it."""

    model: str = "nano-chairs"
    """Category model: nano-chairs, nano-cars, or a folder that python -P -m nerf.conditional.train wrote."""
    instance: int | None = None
    """Number of a training object. The first one is taken if neither it, nor a seed, nor a picture is given."""
    seed: int | None = None
    """Seed of a random object that was not trained on."""
    clip: str | None = None
    """CLIP of texts and exemplars: a folder, an embedded id or a hub id.
    If not given, the one that the mapper was trained with, or else nano-clip-families."""
    method: Literal["mapper", "ridge", "optimize"] | None = None
    """mapper: the trained mapper. ridge: the closed form. optimize: optimisation for this one text.
    If not given, the trained mapper if the model's folder has one, or else the closed form."""
    mapper: Path | None = None
    """Folder of a mapper to use instead of the model's own."""


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Arguments of `pipelines.Editor.apply` that the command has too."""

    text: str | None = None
    """Description of the edited object, such as "a tall red chair"."""
    exemplar: Path | None = None
    """Picture of an object that the edited one should resemble, instead of a text."""
    strength: float = 1.0
    """Share of the edit: 0 changes nothing, 1 is the whole edit, negative numbers move away from the text."""
    shape: bool = True
    """Whether the shape may change."""
    appearance: bool = True
    """Whether the colours may change."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions(OutputOptions):
    """Further arguments of `pipelines.editing.files.edit_to_folder`."""

    output: Path
    """Folder for before.png, after.png, turntable.gif, edit.safetensors and report.json."""
    image: Path | None = None
    """Picture of an object, which is found first and then edited.
    It has transparency, a plain background, or a mask."""
    mask: Path | None = None
    """Mask of that picture, white where the object is."""
    size: int = 128
    """Width and height of before.png and after.png in pixels."""
    views: int = 12
    """Number of pictures of the turntable."""
