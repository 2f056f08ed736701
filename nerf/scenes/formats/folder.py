"""A plain folder: pictures of a thing cut out by alpha or masks, and cameras from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...cameras import Cameras
from ..pictures import MASKS, picture_files, picture_size
from ..scene import SceneError
from .frames import read_frames, read_json
from .listing import Listing, every_eighth, make_cameras


def read_folder(folder: Path) -> Listing:
    """List a plain folder.

    Pictures lie in ``images/``, else in the folder itself, and have alpha; or ``masks/`` has a gray picture of
    the same name (any picture suffix) for each, white where the thing is. Cameras come from ``transforms.json``
    or from ``cameras.npz`` with ``poses`` [n, 3, 4] or [n, 4, 4] (camera to world, OpenGL axes) and ``focal``
    in pixels (one, [n] or [n, 2]), in the order of the pictures' names; ``center`` [n, 2] is optional. Every
    eighth picture is a test view.

    Raises:
        SceneError: cameras, pictures or masks are missing or malformed.
    """
    if (folder / "cameras.npz").is_file():
        files, cameras = _from_arrays(folder)
    else:
        source = folder / "transforms.json"
        files, cameras = read_frames(source, read_json(source))
    masks = None
    if (folder / MASKS).is_dir():
        found = {path.stem: path for path in picture_files(folder / MASKS)}
        without = [path.name for path in files if path.stem not in found]
        if without:
            raise SceneError(f"{folder / MASKS} has no mask for {without[0]}; add {Path(without[0]).stem}.png")
        masks = tuple(found[path.stem] for path in files)
    return Listing(tuple(files), cameras, every_eighth(len(files)), masks=masks, needs_alpha=True)


def _from_arrays(folder: Path) -> tuple[list[Path], Cameras]:
    source = folder / "cameras.npz"
    place = folder / "images" if (folder / "images").is_dir() else folder
    files = picture_files(place)
    if not files:
        raise SceneError(f"{place} has no pictures; put them there")
    try:
        with np.load(source, allow_pickle=False) as arrays:
            poses, focal = arrays["poses"].astype(np.float64), arrays["focal"].astype(np.float64)
            center = arrays["center"].astype(np.float64) if "center" in arrays else None
    except KeyError as error:
        raise SceneError(f"{source} must hold arrays 'poses' and 'focal'; add what is missing") from error
    except (ValueError, OSError, EOFError) as error:
        raise SceneError(f"{source} is not a NumPy archive ({error}); export it again") from error
    n, size = len(files), picture_size(files[0])
    if poses.shape not in ((n, 3, 4), (n, 4, 4)):
        raise SceneError(f"{source}: poses of {n} pictures must be [{n}, 3, 4] or [{n}, 4, 4], got {list(poses.shape)}")
    center = np.broadcast_to(np.array(size) / 2, (n, 2)) if center is None else center
    if focal.shape not in ((), (1,), (n,), (n, 2)) or center.shape != (n, 2):
        raise SceneError(f"{source}: focal must be one number, [{n}] or [{n}, 2], and center [{n}, 2]; correct them")
    focal = np.broadcast_to(focal[:, None] if focal.ndim == 1 else focal, (n, 2))
    cameras = make_cameras(
        source, files, torch.from_numpy(poses[:, :3].copy()), torch.from_numpy(focal.copy()),
        torch.from_numpy(center.copy()), size,
    )  # fmt: skip
    return files, cameras
