"""Captures of instant-ngp and nerfstudio: one transforms.json with intrinsics, distortion and splits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..points import cloud_bounds
from ..scene import SPLITS, SceneError
from .frames import number, read_frames, read_json
from .listing import Listing, empty_splits

NGP_SCALE, NGP_OFFSET = 0.33, 0.5
"""instant-ngp places the world at scale * x + offset, and its box of side aabb_scale around 0.5."""


def read_nerfstudio(folder: Path) -> Listing:
    """List a folder with ``transforms.json``.

    ``train_filenames``, ``val_filenames`` and ``test_filenames`` name the splits; frames of no list are for training
    where there is no ``train_filenames``. Every eighth frame is a test view where the file has none of them. The world
    stays as the file has it. Bounds are those of the sparse points; the content lies in the box of ``aabb_scale``.

    Raises:
        SceneError: the file is malformed or pictures are missing.
    """
    source = folder / "transforms.json"
    content = read_json(source)
    listing = read_frames(source, content)
    return dataclasses.replace(
        listing, splits=_splits(source, content, listing), bounds=cloud_bounds(folder, content),
        limit=_box(source, content), near=number(source, content, "near"), far=number(source, content, "far"),
    )  # fmt: skip


def has_masks(source: Path) -> bool:
    """Whether frames of a transforms file name masks of pixels to leave out."""
    frames = read_json(source).get("frames")
    return isinstance(frames, list) and any(isinstance(frame, dict) and "mask_path" in frame for frame in frames)


def _splits(source: Path, content: Mapping[str, Any], listing: Listing) -> dict[str, list[int]]:
    named = {split: content.get(f"{split}_filenames") for split in SPLITS}
    if not any(named.values()):
        return listing.splits
    places = {picture.path.resolve(): index for index, picture in enumerate(listing.pictures)}
    splits = empty_splits()
    for split, names in named.items():
        if names is not None and not isinstance(names, list):
            raise SceneError(f"{source}: {split}_filenames must be a list of names, got {names!r}; correct the file")
        for name in names or []:
            path = (source.parent / str(name)).resolve()
            if path not in places:
                raise SceneError(f"{source}: {split}_filenames has {name}, which no frame has; correct the list")
            splits[split].append(places[path])
    if not splits["train"]:
        taken = {index for indices in splits.values() for index in indices}
        splits["train"] = [index for index in range(len(places)) if index not in taken]
    return splits


def _box(source: Path, content: Mapping[str, Any]) -> Float[Tensor, "2 3"] | None:
    side = number(source, content, "aabb_scale")
    if side is None:
        return None
    scale = number(source, content, "scale")
    scale = NGP_SCALE if scale is None else scale
    for name, value in (("aabb_scale", side), ("scale", scale)):
        if not 0 < value < math.inf:
            raise SceneError(f"{source}: {name} must be a positive number, got {value:g}; correct the file")
    given = content.get("offset", [NGP_OFFSET] * 3)
    numbers = [value for value in given if type(value) in (int, float)] if isinstance(given, list) else []
    if len(numbers) != 3 or len(given) != 3:
        raise SceneError(f"{source}: offset must be three numbers, got {given!r}; correct the file")
    return torch.stack([0.5 - side / 2 - torch.tensor(numbers), 0.5 + side / 2 - torch.tensor(numbers)]) / scale
