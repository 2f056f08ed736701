"""Reads a scene from a folder of any supported format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..cameras import Cameras
from .bounds import empty_ray_fraction, hull_bounds, ray_limits, viewed_region
from .formats.blender import read_blender
from .formats.folder import read_folder
from .formats.listing import Listing
from .formats.llff import read_llff
from .formats.nerfstudio import read_nerfstudio
from .pictures import MASKS, read_pictures
from .scene import Scene, SceneError

logger = logging.getLogger(__name__)

READERS: dict[str, Callable[[Path], Listing]] = {
    "blender": read_blender,
    "nerfstudio": read_nerfstudio,
    "folder": read_folder,
}
"""Readers by format. "llff" has a reader with more arguments: its pictures and frame depend on downscaling and NDC."""
FORMATS = (*READERS, "llff")
MISSED = 0.5
"""Share of rays missing the bounds above which a warning is logged."""


def shipped_scenes() -> dict[str, Path]:
    """The scenes that come with the package: id and folder."""
    data = Path(__file__).parent / "data"
    return {path.parent.name: path.parent for path in sorted(data.glob("*/transforms_train.json"))}


def load_scene(
    folder: str | Path,
    *,
    downscale: float = 1,
    bounds: Sequence[Sequence[float]] | Float[Tensor, "2 3"] | None = None,
    near: float | None = None,
    far: float | None = None,
    ndc: bool | None = None,
    format: str = "auto",
) -> Scene:
    """Read a scene; the world is that of its files, except in NDC.

    Bounds, when not given, come from the first of these that the scene has: sparse points or ``aabb_scale``,
    the visual hull of its alpha, LLFF's depths, the region that the cameras show. Near and far come from the files or
    else from bounds and cameras. More than half of the training rays missing the bounds is a warning.

    Args:
        folder: a folder, or the id of a shipped scene.
        downscale: pictures are read this many times smaller.
        bounds: lower and upper corner of the content.
        near: distance along rays where content starts.
        far: distance along rays where content ends.
        ndc: normalized device coordinates, for LLFF captures; none takes them for forward-facing ones.
        format: "blender", "nerfstudio", "llff", "folder", or "auto" to go by the files there.

    Raises:
        FileNotFoundError: there is neither such a folder nor such a shipped scene.
        SceneError: files are missing or malformed; the message names the file and the remedy.
        ValueError: an argument is out of its range.
    """
    path = _resolve(folder)
    if downscale < 1:
        raise ValueError(f"downscale must be at least 1, got {downscale}")
    if format == "auto":
        format = detect_format(path)
    if format not in FORMATS:
        raise ValueError(f"format must be auto or one of {', '.join(FORMATS)}, got {format!r}")
    if ndc and format != "llff":
        raise ValueError(f"ndc needs the near depths of an LLFF capture, got a {format} scene; leave ndc out")
    listing = read_llff(path, downscale=downscale, ndc=ndc) if format == "llff" else READERS[format](path)
    if len(listing.splits["train"]) < 2:
        count = len(listing.splits["train"])
        raise SceneError(f"{path} has {count} training picture; a radiance field needs at least two views")
    return _assemble(path, str(folder), listing, downscale, bounds, near, far)


def detect_format(folder: Path) -> str:
    """The format of a scene folder, from the names of its files.

    Raises:
        SceneError: the folder has no known format; the message lists what was looked for.
    """
    if (folder / "transforms_train.json").is_file():
        return "blender"
    if (folder / "poses_bounds.npy").is_file():
        return "llff"
    single = (folder / "transforms.json").is_file()
    if (folder / "cameras.npz").is_file() or (single and (folder / MASKS).is_dir()):
        return "folder"
    if single:
        return "nerfstudio"
    raise SceneError(
        f"{folder} is not a scene: it has neither transforms_train.json (Blender), transforms.json (nerfstudio, "
        "instant-ngp), poses_bounds.npy (LLFF) nor cameras.npz (plain folder); add the cameras in one of them"
    )


def _resolve(folder: str | Path) -> Path:
    path, shipped = Path(folder).expanduser(), shipped_scenes()
    if path.is_dir():
        return path.resolve()
    if str(folder) in shipped:
        return shipped[str(folder)]
    raise FileNotFoundError(
        f"there is no folder {folder}, and no shipped scene of that name; shipped are {', '.join(shipped)}"
    )


def _assemble(
    path: Path,
    source: str,
    listing: Listing,
    downscale: float,
    bounds: Sequence[Sequence[float]] | Float[Tensor, "2 3"] | None,
    near: float | None,
    far: float | None,
) -> Scene:
    cameras = listing.cameras.scaled(max(1.0, downscale / listing.shrunk))
    pictures = read_pictures(listing.files, listing.masks, (cameras.width, cameras.height))
    has_alpha = bool((pictures[..., 3] < 255).any())
    if listing.needs_alpha and not has_alpha:
        raise SceneError(f"{listing.files[0]} has no alpha and there is no folder {path / MASKS}; add either")
    train = torch.tensor(listing.splits["train"])
    box = listing.bounds if bounds is None else _checked(bounds)
    if box is None:
        # The outlines of a scene that moves belong to different moments, so they have no common hull.
        carved = has_alpha and cameras.times is None
        box = _default_bounds(cameras[train], pictures[train, ..., 3] > 0 if carved else None, listing)
    limits = (0.0, 1.0) if cameras.ndc is not None else ray_limits(cameras, box)
    listed = (listing.near, listing.far) if bounds is None else (None, None)
    near, far = (
        next(value for value in choices if value is not None)
        for choices in zip((near, far), listed, limits, strict=True)
    )
    if not 0 <= near < far:
        raise ValueError(f"near and far must be 0 <= near < far, got {near:g} and {far:g}")
    names = tuple(str(file.relative_to(path)) if file.is_relative_to(path) else str(file) for file in listing.files)
    splits = listing.splits
    scene = Scene(path.name, pictures, cameras, splits, box, near, far, has_alpha, names, source, downscale)
    missed = empty_ray_fraction(scene)
    if missed > MISSED:
        logger.warning("%.0f %% of the training rays of %s miss its bounds %s; set bounds", 100 * missed, path,
                       [[round(value, 3) for value in corner] for corner in box.tolist()])  # fmt: skip
    return scene


def _default_bounds(cameras: Cameras, alpha: Bool[Tensor, "n h w"] | None, listing: Listing) -> Float[Tensor, "2 3"]:
    region = viewed_region(cameras, listing.extent)
    if alpha is None:
        return region
    hull = hull_bounds(cameras, alpha, region)
    return region if hull is None else hull


def _checked(bounds: Sequence[Sequence[float]] | Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    box = torch.as_tensor(bounds, dtype=torch.float32)
    if box.shape != (2, 3) or not box.isfinite().all() or not (box[0] < box[1]).all():
        raise ValueError(f"bounds must be a lower and an upper corner of three numbers each, got {box.tolist()}")
    return box
