"""Synthetic scenes, rendered and written in NeRF-synthetic format."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mappers.files import refuse_filled, replacing
from mappers.options import declared_by
from mappers.pixels import MOST_VIEWS, check_side

from ...cameras import Cameras, look_at
from ...options import MakeSceneOptions
from ..scene import SPLITS
from .gallery import SCENES, solids
from .motion import MOVING, moving_solids

RADIUS = 3.2
"""Distance of the cameras from the origin."""
CAMERA_ANGLE = 0.75
"""Horizontal angle of view, radians; a ball of radius 1.17 fits."""
ELEVATION = (-10.0, 75.0)
"""Range of the cameras' elevation, degrees; views from a little below show the extent of the ground."""
MESHES = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off")


@declared_by(MakeSceneOptions)
def make_scene(
    name: str | Path, output: str | Path, *, size: int = 100, views: Sequence[int] = (24, 4, 8), seed: int = 0
) -> Path:
    """Render a scene in NeRF-synthetic format: RGBA pictures and ``transforms_<split>.json``.

    Returns:
        The folder.

    Raises:
        ValueError: there is no such scene or mesh, or a number is out of its range.
        FileExistsError: the folder has something in it.
    """
    check_side(size)
    if len(views) != len(SPLITS) or min(views) < 0 or max(views) > MOST_VIEWS:
        raise ValueError(f"views must be three counts in 0..{MOST_VIEWS} for train, val and test, got {tuple(views)}")
    folder = Path(output).expanduser()
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; choose another output")
    refuse_filled(folder)
    draw = _renderer(name)
    generator = torch.Generator().manual_seed(seed)
    for split, count in zip(SPLITS, views, strict=True):
        if count:
            cameras = spread_cameras(count, size=size, generator=generator)
            if str(name) in MOVING:
                # Middles of equal spans, so that the splits see different moments where their counts differ.
                cameras = dataclasses.replace(cameras, times=(torch.arange(count) + 0.5) / count)
            write_split(folder, split, cameras, [draw(cameras, index) for index in range(count)])
    return folder


def spread_cameras(count: int, *, size: int, generator: torch.Generator) -> Cameras:
    """Cameras spread evenly over the belt of `ELEVATION`, turned and lifted at random.

    Steps of the golden angle keep azimuths apart however many there are; heights divide the belt into equal areas.
    """
    turn, lift = torch.rand(2, generator=generator)
    low, high = (math.sin(math.radians(angle)) for angle in ELEVATION)
    order = torch.arange(count)
    azimuth = 2 * math.pi * (turn + order * (3 - 5**0.5) / 2)
    height = low + (high - low) * ((order + lift) / count)
    flat = (1 - height.square()).sqrt()
    positions = RADIUS * torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), height], dim=-1)
    focal = size / 2 / math.tan(CAMERA_ANGLE / 2)
    return Cameras.pinhole(look_at(positions, (0.0, 0.0, 0.0)), width=size, height=size, focal=focal)


def write_split(folder: Path, split: str, cameras: Cameras, pictures: Sequence[Float[Tensor, "h w 4"]]) -> None:
    """One split in NeRF-synthetic format; pictures have straight alpha in [0, 1]."""
    (folder / split).mkdir(parents=True)
    frames = []
    for index, picture in enumerate(pictures):
        values = (picture * 255).round().clamp(0, 255).byte()
        values[values[..., 3] == 0] = 0  # the colour of transparent pixels is invisible; zeros compress best
        name = f"{split}/r_{index:03d}"
        with replacing(folder / f"{name}.png") as temporary:
            Image.fromarray(values.numpy()).save(temporary, optimize=True)
        matrix = [*cameras.poses[index].tolist(), [0.0, 0.0, 0.0, 1.0]]
        frame = {"file_path": f"./{name}", "transform_matrix": matrix}
        frames.append(frame if cameras.times is None else {**frame, "time": float(cameras.times[index])})
    angle = 2 * math.atan(cameras.width / 2 / float(cameras.focal[0, 0]))
    text = json.dumps({"camera_angle_x": angle, "frames": frames}, indent=1)
    with replacing(folder / f"transforms_{split}.json") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _renderer(name: str | Path) -> Callable[[Cameras, int], Float[Tensor, "h w 4"]]:
    if Path(name).suffix.lower() in MESHES:
        from .meshes import Mesh

        return Mesh(Path(name).expanduser()).picture
    if str(name) in MOVING:
        return lambda cameras, index: moving_solids(str(name), _time(cameras, index)).picture(cameras, index)
    if str(name) not in SCENES:
        known = ", ".join((*SCENES, *MOVING))
        raise ValueError(f"there is no scene {str(name)!r}; known are {known}, or give a mesh file")
    return solids(str(name)).picture


def _time(cameras: Cameras, index: int) -> float:
    return 0.0 if cameras.times is None else float(cameras.times[index])
