"""Captures of instant-ngp and nerfstudio: one transforms.json with intrinsics, distortion and splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..points import cloud_bounds
from ..scene import SPLITS, SceneError
from .frames import number, read_frames, read_json
from .listing import Listing, empty_splits, every_eighth

NGP_SCALE, NGP_OFFSET = 0.33, 0.5
"""instant-ngp places the world at scale * x + offset, and its box of side aabb_scale around 0.5."""


def read_nerfstudio(folder: Path) -> Listing:
    """List a folder with ``transforms.json``.

    Every eighth frame is a test view where the file names no ``train_filenames``, ``val_filenames`` and
    ``test_filenames``. The world stays as the file has it. Bounds are those of the sparse points, else of
    ``aabb_scale``.

    Raises:
        SceneError: the file is malformed or pictures are missing.
    """
    source = folder / "transforms.json"
    content = read_json(source)
    files, cameras = read_frames(source, content)
    bounds = cloud_bounds(folder, content)
    return Listing(
        files, cameras, _splits(source, content, files), bounds=_box(source, content) if bounds is None else bounds,
        near=number(source, content, "near"), far=number(source, content, "far"),
    )  # fmt: skip


def _splits(source: Path, content: Mapping[str, Any], files: tuple[Path, ...]) -> dict[str, list[int]]:
    named = {split: content.get(f"{split}_filenames") for split in SPLITS}
    if not named["train"]:
        return every_eighth(len(files))
    places = {path.resolve(): index for index, path in enumerate(files)}
    splits = empty_splits()
    for split, names in named.items():
        for name in names or []:
            path = (source.parent / str(name)).resolve()
            if path not in places:
                raise SceneError(f"{source}: {split}_filenames has {name}, which no frame has; correct the list")
            splits[split].append(places[path])
    return splits


def _box(source: Path, content: Mapping[str, Any]) -> Float[Tensor, "2 3"] | None:
    side = number(source, content, "aabb_scale")
    if side is None:
        return None
    scale = number(source, content, "scale") or NGP_SCALE
    given = content.get("offset", NGP_OFFSET)
    offset = torch.tensor(given if isinstance(given, list) and len(given) == 3 else [NGP_OFFSET] * 3).float()
    return torch.stack([0.5 - side / 2 - offset, 0.5 + side / 2 - offset]) / scale
