"""NeRF-synthetic scenes: a file transforms_train.json, and the same for val and test where there are any."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ...cameras import Cameras
from ..pictures import PictureSource
from ..points import cloud_bounds
from ..scene import SPLITS, SceneError
from .frames import MissingPictures, number, read_frames, read_json
from .listing import Listing, empty_splits

logger = logging.getLogger(__name__)


def read_blender(folder: Path) -> Listing:
    """List a folder of ``transforms_<split>.json`` files.

    The files' own near and far are kept where they name any. Frames may carry nerfstudio's intrinsics; real
    captures are often stored this way. A split for validation or test of which no picture exists is left out with a
    warning: the add-on BlenderNeRF writes cameras whose pictures it never renders.

    Raises:
        SceneError: a file is malformed, or pictures are missing.
    """
    pictures: list[PictureSource] = []
    parts: list[Cameras] = []
    splits = empty_splits()
    content = {}
    for split in reversed(SPLITS):  # the training file is read last: its near and far count
        path = folder / f"transforms_{split}.json"
        if split != "train" and not path.exists():
            continue
        content = read_json(path)
        try:
            part = read_frames(path, content)
        except MissingPictures as error:
            if split == "train":
                raise
            logger.warning("the split %s is left out: none of its pictures exists (%s)", split, error)
            continue
        splits[split] = list(range(len(pictures), len(pictures) + len(part.pictures)))
        pictures += part.pictures
        parts.append(part.cameras)
    source = folder / "transforms_train.json"
    return Listing(
        tuple(pictures), _concatenated(parts), splits, bounds=cloud_bounds(folder, content),
        near=number(source, content, "near"), far=number(source, content, "far"),
    )  # fmt: skip


def _concatenated(parts: list[Cameras]) -> Cameras:
    lens = None
    if any(part.distortion is not None for part in parts):
        none = torch.zeros(1, 6)
        lens = torch.cat([none.expand(len(p), 6) if p.distortion is None else p.distortion for p in parts])
    times = None
    if any(part.times is not None for part in parts):
        if any(part.times is None for part in parts):
            raise SceneError("some splits have a time for every frame and others none; give all of them times")
        times = torch.cat([part.times for part in parts if part.times is not None])
    return Cameras(
        torch.cat([part.poses for part in parts]), torch.cat([part.focal for part in parts]),
        torch.cat([part.center for part in parts]), max(part.width for part in parts),
        max(part.height for part in parts), distortion=lens,
        times=times,
    )  # fmt: skip
