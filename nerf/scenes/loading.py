"""Reads a scene from a folder of any supported format."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..cameras import Cameras
from ..viewpoints import look_inward
from .bounds import empty_ray_fraction, hull_bounds, ray_limits, viewed_region
from .formats.blender import read_blender
from .formats.colmap import model_folder, read_colmap
from .formats.folder import read_folder
from .formats.listing import Listing
from .formats.llff import read_llff
from .formats.nerfstudio import has_masks, read_nerfstudio
from .pictures import MASKS, read_pictures
from .scene import Scene, SceneError

logger = logging.getLogger(__name__)

READERS: dict[str, Callable[[Path], Listing]] = {
    "blender": read_blender,
    "nerfstudio": read_nerfstudio,
    "folder": read_folder,
    "colmap": read_colmap,
}
"""Readers by format. "llff" has a reader with more arguments: its pictures and frame depend on downscaling and NDC."""
FORMATS = (*READERS, "llff")
MISSED = 0.5
"""Share of rays missing the bounds above which a warning is logged."""
REMOTE, FARTHEST = 1e4, 1e9
"""Largest distance of a camera from the origin: times the cameras' distances from each other, and in units."""


def shipped_scenes() -> dict[str, Path]:
    """The scenes that come with the package: id and folder."""
    data = Path(__file__).parent / "data"
    return {path.parent.name: path.parent for path in sorted(data.glob("*/transforms_train.json"))}


def load_scene(
    folder: str | Path,
    *,
    downscale: float = 1,
    bounds: Sequence[Sequence[float]] | Sequence[float] | Float[Tensor, "2 3"] | None = None,
    near: float | None = None,
    far: float | None = None,
    ndc: bool | None = None,
    format: str = "auto",
) -> Scene:
    """Read a scene; the world is that of its files, except in NDC.

    Bounds, when not given, come from the first of these that the scene has: sparse points, the visual hull of its
    alpha, LLFF's depths, the region that the cameras show. ``aabb_scale`` limits the hull and the region; where the
    cameras do not look at a common middle, it is the bounds. Near and far come from the files or
    else from bounds and cameras. More than half of the training rays missing the bounds is a warning.

    Args:
        folder: a folder, or the id of a shipped scene.
        downscale: pictures are read this many times smaller, at least 1; two pixels a side must be left.
        bounds: lower and upper corner of the content, or the six numbers of both.
        near: distance along rays where content starts.
        far: distance along rays where content ends.
        ndc: normalized device coordinates, for LLFF captures; none takes them for forward-facing ones.
        format: "blender", "nerfstudio", "llff", "folder", "colmap", or "auto" to go by the files there.

    Raises:
        FileNotFoundError: there is neither such a folder nor such a shipped scene.
        SceneError: files are missing or malformed; the message names the file and the remedy.
        ValueError: an argument is out of its range.
    """
    path = _resolve(folder)
    if not 1 <= downscale < math.inf:
        raise ValueError(f"downscale must be at least 1, got {downscale:g}")
    if bounds is not None:
        bounds = _checked(bounds)
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
    source = str(folder) if path in shipped_scenes().values() else str(path)
    return _assemble(path, source, format, listing, downscale, bounds, near, far)


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
    cut_out = single and (folder / MASKS).is_dir() and not has_masks(folder / "transforms.json")
    if (folder / "cameras.npz").is_file() or cut_out:
        return "folder"
    if single:
        return "nerfstudio"
    if model_folder(folder) is not None:
        return "colmap"
    raise SceneError(
        f"{folder} is not a scene: it has neither transforms_train.json (Blender), transforms.json (nerfstudio, "
        "instant-ngp), poses_bounds.npy (LLFF), sparse/0 (COLMAP) nor cameras.npz (plain folder); add the cameras in"
        " one of them"
    )


def _resolve(folder: str | Path) -> Path:
    path, shipped = Path(folder).expanduser(), shipped_scenes()
    if path.is_dir():
        return path.resolve()
    if str(folder) in shipped:
        return shipped[str(folder)]
    if path.is_file():
        raise SceneError(f"{folder} is a file; give the folder that it is in: {path.parent}")
    raise FileNotFoundError(
        f"there is no folder {folder}, and no shipped scene of that name; shipped are {', '.join(shipped)}"
    )


def _assemble(
    path: Path,
    source: str,
    format: str,
    listing: Listing,
    downscale: float,
    bounds: Float[Tensor, "2 3"] | None,
    near: float | None,
    far: float | None,
) -> Scene:
    sizes = _sizes(listing, downscale)
    cameras = _shrunk(listing, sizes)
    train = torch.tensor(listing.splits["train"])
    _check_positions(path, cameras[train])
    pictures, kept = read_pictures(listing.pictures, sizes)
    _check_content(path, pictures[train, ..., 3] > 0, None if kept is None else kept[train])
    transparent = pictures[..., 3] < 255
    has_alpha = bool((transparent if kept is None else transparent & kept).any())
    if listing.needs_alpha and not has_alpha:
        raise SceneError(f"{listing.pictures[0].path} has no alpha and there is no folder {path / MASKS}; add either")
    box = listing.bounds if bounds is None else bounds
    if box is None:
        # The outlines of a scene that moves belong to different moments, so they have no common hull.
        carved = has_alpha and cameras.times is None
        opaque = pictures[train, ..., 3] > 0
        # Behind a mask there may be something.
        opaque = opaque if kept is None else opaque | ~kept[train]
        box = _default_bounds(cameras[train], opaque if carved else None, listing, path)
    limits = (0.0, 1.0) if cameras.ndc is not None else ray_limits(cameras, box)
    listed = (listing.near, listing.far) if bounds is None else (None, None)
    near, far = (
        next(value for value in choices if value is not None)
        for choices in zip((near, far), listed, limits, strict=True)
    )
    if not 0 <= near < far < math.inf:
        raise SceneError(f"near and far must be 0 <= near < far, got {near:g} and {far:g} for {path}; correct them")
    files = [picture.path for picture in listing.pictures]
    names = tuple(str(file.relative_to(path)) if file.is_relative_to(path) else str(file) for file in files)
    scene = Scene(
        path.name, pictures, cameras, listing.splits, box, near, far, has_alpha, names, source, downscale, format,
        kept, None if len(set(sizes)) == 1 else tuple(sizes),
    )  # fmt: skip
    missed = empty_ray_fraction(scene)
    if missed > MISSED:
        corners = [[round(value, 3) for value in corner] for corner in box.tolist()]
        text = "%.0f %% of the training rays of %s miss its bounds %s; set bounds (--bounds)"
        logger.warning(text, 100 * missed, path, corners)
    return scene


def _sizes(listing: Listing, downscale: float) -> list[tuple[int, int]]:
    """Width and height of every picture after it is made smaller."""
    factor = max(1.0, downscale / listing.shrunk)
    sizes = []
    for picture in listing.pictures:
        width, height = (round(side / factor) for side in picture.size)
        if factor > 1 and min(width, height) < 2:
            most = max(1, min(picture.size) * listing.shrunk / 2)
            raise ValueError(
                f"downscale {downscale:g} leaves less than two pixels of a side of {picture.path}; take at most"
                f" {most:g}"
            )
        sizes.append((width, height))
    return sizes


def _shrunk(listing: Listing, sizes: Sequence[tuple[int, int]]) -> Cameras:
    """The listing's cameras for pictures of these sizes; each view stays the same."""
    native = torch.tensor([picture.size for picture in listing.pictures])
    ratio = torch.tensor(sizes) / native
    width, height = (max(side) for side in zip(*sizes, strict=True))
    cameras = listing.cameras
    return dataclasses.replace(
        cameras, focal=cameras.focal * ratio, center=cameras.center * ratio, width=width, height=height
    )


def _check_positions(path: Path, cameras: Cameras) -> None:
    """Refuse cameras of one point, and those whose distances are lost in the rounding of their coordinates."""
    positions = cameras.positions
    spread = float((positions.amax(0) - positions.amin(0)).norm())
    farthest = float(positions.abs().max())
    if farthest > FARTHEST:
        raise SceneError(f"cameras of {path} stand {farthest:g} units from the origin; scale the scene down")
    if not spread and cameras.times is None:
        raise SceneError(f"all training cameras of {path} stand at one point; take pictures from several places")
    if spread * REMOTE < farthest:
        raise SceneError(
            f"cameras of {path} stand {farthest:g} units from the origin and {spread:g} from each other, which 32-bit"
            " numbers cannot tell apart; move the origin to the scene"
        )


def _check_content(path: Path, opaque: Bool[Tensor, "n h w"], kept: Bool[Tensor, "n h w"] | None) -> None:
    if kept is not None and not kept.any():
        raise SceneError(f"the masks of {path} leave out every pixel of the training pictures; correct the masks")
    if not (opaque if kept is None else opaque & kept).any():
        raise SceneError(f"every training picture of {path} is wholly transparent; export the pictures again")


def _default_bounds(
    cameras: Cameras, opaque: Bool[Tensor, "n h w"] | None, listing: Listing, path: Path
) -> Float[Tensor, "2 3"]:
    region, limit = viewed_region(cameras, listing.extent), listing.limit
    if limit is not None and opaque is None and not look_inward(cameras):
        return limit
    if limit is not None:
        common = torch.stack([torch.maximum(region[0], limit[0]), torch.minimum(region[1], limit[1])])
        sides = [float((box[1] - box[0]).max()) for box in (limit, region)]
        if opaque is None and sides[0] > sides[1]:
            logger.warning(
                "the box of aabb_scale in %s has sides of %.3g, but the cameras look at a part with sides of %.3g, in"
                " which the field is trained; set bounds (--bounds) for another box", path, *sides,
            )  # fmt: skip
        region = common if (common[0] < common[1]).all() else limit
    hull = None if opaque is None else hull_bounds(cameras, opaque, region)
    return region if hull is None else hull


def _checked(bounds: Sequence[Sequence[float]] | Sequence[float] | Tensor) -> Float[Tensor, "2 3"]:
    box = torch.as_tensor(bounds, dtype=torch.float32)
    box = box.view(2, 3) if box.numel() == 6 else box
    if box.shape != (2, 3) or not box.isfinite().all() or not (box[0] < box[1]).all():
        raise ValueError(f"bounds must be a lower and an upper corner of three numbers each, got {box.tolist()}")
    return box
