"""A plain folder: pictures of a thing cut out by alpha or masks, and cameras from a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from mappers.files import DAMAGED_ARRAY

from ..pictures import MASKS, PictureSource, picture_files, picture_size
from ..scene import SceneError
from .listing import Listing, every_eighth, make_cameras
from .nerfstudio import read_nerfstudio


def read_folder(folder: Path) -> Listing:
    """List a plain folder.

    Pictures lie in ``images/``, else in the folder itself, and have alpha; or ``masks/`` has a gray picture of
    the same name (any picture suffix) for each, white where the thing is. Cameras come from ``transforms.json``,
    as `read_nerfstudio` reads it, or from ``cameras.npz`` with ``poses`` [n, 3, 4] or [n, 4, 4] (camera to world,
    OpenGL axes) and ``focal`` in pixels (one, [n] or [n, 2]), in the order of the pictures' names; ``center`` [n, 2] is
    optional. Every eighth picture is a test view where ``transforms.json`` names no splits.

    Raises:
        SceneError: cameras, pictures or masks are missing or malformed.
    """
    listing = _from_arrays(folder) if (folder / "cameras.npz").is_file() else read_nerfstudio(folder)
    if (folder / MASKS).is_dir():
        found = {path.stem: path for path in picture_files(folder / MASKS)}
        without = [picture.path.name for picture in listing.pictures if picture.path.stem not in found]
        if without:
            raise SceneError(f"{folder / MASKS} has no mask for {without[0]}; add {Path(without[0]).stem}.png")
        pictures = (
            dataclasses.replace(picture, mask=found[picture.path.stem], excluded=None) for picture in listing.pictures
        )
        listing = dataclasses.replace(listing, pictures=tuple(pictures))
    return dataclasses.replace(listing, needs_alpha=True)


def _from_arrays(folder: Path) -> Listing:
    source = folder / "cameras.npz"
    place = folder / "images" if (folder / "images").is_dir() else folder
    files = picture_files(place)
    if not files:
        raise SceneError(f"{place} has no pictures; put them there")
    try:
        # numpy leaves a file open that it opened and that is no archive.
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            poses, focal = arrays["poses"].astype(np.float64), arrays["focal"].astype(np.float64)
            center = arrays["center"].astype(np.float64) if "center" in arrays else None
    except KeyError as error:
        raise SceneError(f"{source} must hold arrays 'poses' and 'focal'; add what is missing") from error
    except DAMAGED_ARRAY as error:
        raise SceneError(f"{source} is not a NumPy archive ({error}); export it again") from error
    pictures = tuple(PictureSource(path, picture_size(path)) for path in files)
    n = len(files)
    if poses.shape not in ((n, 3, 4), (n, 4, 4)):
        raise SceneError(f"{source}: poses of {n} pictures must be [{n}, 3, 4] or [{n}, 4, 4], got {list(poses.shape)}")
    center = np.array([picture.size for picture in pictures]) / 2 if center is None else center
    if focal.shape not in ((), (1,), (n,), (n, 2)) or center.shape != (n, 2):
        raise SceneError(f"{source}: focal must be one number, [{n}] or [{n}, 2], and center [{n}, 2]; correct them")
    focal = np.broadcast_to(focal[:, None] if focal.ndim == 1 else focal, (n, 2))
    cameras = make_cameras(
        source, pictures, torch.from_numpy(poses[:, :3].copy()), torch.from_numpy(focal.copy()),
        torch.from_numpy(center.copy()),
    )  # fmt: skip
    return Listing(pictures, cameras, every_eighth(n))
