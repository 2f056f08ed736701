"""The box around a scene's content, and the interval of every ray that may meet it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..cameras import Cameras, distort, nearest_to_axes
from ..rendering.sampling import intersect_box
from .scene import Scene

GRID = 48
"""Cells along an axis of the grid from which the visual hull is carved."""
PASSES = 3
"""Passes of carving; each lays the grid into the box of the hull found before."""
VIEWS = 24
"""Most pictures with which the hull is carved."""
MASK = 160
"""Longest side of the masks that carve it, pixels."""
CHECKED = 30_000
"""Rays that are tested to find whether bounds miss the scene."""
MARGIN = 1e-3
"""Least near distance for a camera inside the bounds, as a share of the far distance."""


def viewed_region(cameras: Cameras, extent: tuple[float, float] | None = None) -> Float[Tensor, "2 3"]:
    """The box that pictures show, computed from their cameras only.

    With ``extent``, distances along the optical axis, it holds all views between them. Without, cameras are taken
    to surround their subject: a cube around the point nearest to all optical axes, as large as a picture
    shows at their mean distance.
    """
    if extent is not None:
        corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]) * torch.tensor([cameras.width, cameras.height])
        index = torch.arange(len(cameras)).repeat_interleave(4)
        rays = cameras.rays(index, corners.float().repeat(len(cameras), 1))
        depth = (rays.directions * cameras.forward[index]).sum(-1, keepdim=True)
        points = torch.cat([rays.origins + distance / depth * rays.directions for distance in extent])
        return torch.stack([points.amin(0), points.amax(0)])
    focus = nearest_to_axes(cameras)
    distance = (cameras.positions - focus).norm(dim=-1).mean()
    corner = torch.tensor([cameras.width, cameras.height]) / 2
    half = distance * (corner / cameras.focal.mean(0)).norm()
    return torch.stack([focus - half, focus + half])


def hull_bounds(
    cameras: Cameras, alpha: Bool[Tensor, "n h w"], region: Float[Tensor, "2 3"]
) -> Float[Tensor, "2 3"] | None:
    """The box around the visual hull, a little too large; None if the hull is empty.

    Args:
        alpha: which pixels show something.
        region: the box to search.
    """
    chosen = torch.linspace(0, len(cameras) - 1, min(VIEWS, len(cameras))).round().long()
    cameras = cameras[chosen]
    masks = alpha[chosen][:, None].float()
    factor = max(1, math.ceil(max(cameras.width, cameras.height) / MASK))
    distances = _distances(max_pool2d(masks, factor, ceil_mode=True))
    box = region
    for _ in range(PASSES):
        cell = (box[1] - box[0]) / GRID
        steps = torch.cartesian_prod(*[torch.arange(GRID)] * 3) + 0.5
        kept = _carve(cameras, distances, factor, box[0] + steps * cell, float(cell.norm()) / 2)
        if not kept.any():
            return None
        inside = box[0] + steps[kept] * cell
        box = torch.stack([inside.amin(0) - cell / 2, inside.amax(0) + cell / 2])
    return box


def _carve(
    cameras: Cameras, distances: Float[Tensor, "n i j"], factor: int, points: Float[Tensor, "p 3"], reach: float
) -> Bool[Tensor, " p"]:
    """Points that may have content within ``reach`` according to every picture, and that at least one picture shows.

    A picture whose border is empty shows the content whole, so there is none outside of it.
    """
    alive = torch.arange(len(points))  # only these are tested in the next picture: most are gone after a few
    seen = torch.zeros(len(points), dtype=torch.bool)
    border = distances == 0
    border[:, 1:-1, 1:-1] = False
    whole = ~border.flatten(1).any(dim=1)
    last = torch.tensor([cameras.width, cameras.height]) - 1e-3
    for index in range(len(cameras)):
        local = (points[alive] - cameras.positions[index]) @ cameras.poses[index, :, :3]
        depth = -local[:, 2]
        plane = torch.stack([local[:, 0], -local[:, 1]], dim=-1) / depth.clamp(min=1e-6)[:, None]
        if cameras.distortion is not None:
            plane = distort(plane, cameras.distortion[index].expand(len(plane), 6))
        pixels = plane * cameras.focal[index] + cameras.center[index]
        clamped = torch.minimum(pixels.clamp(min=0), last)
        outside = (pixels - clamped).abs().amax(dim=-1)
        ahead = depth > 2 * reach
        decisive = ahead if whole[index] else ahead & (outside == 0)
        # Content within a cell shows within the cell's radius of its centre; 1 more pixel for the mask's rounding.
        radius = reach / (depth - reach) * cameras.focal[index].max() / factor + 1
        x, y = (clamped / factor).long().unbind(-1)
        seen[alive] |= ahead & (outside == 0)
        alive = alive[~decisive | (torch.maximum(distances[index, y, x], outside / factor) <= radius)]
    kept = torch.zeros(len(points), dtype=torch.bool)
    kept[alive] = True
    return kept & seen


def _distances(masks: Float[Tensor, "n 1 i j"]) -> Float[Tensor, "n i j"]:
    """Distance of every pixel to the nearest full one, larger of both axes; infinite in empty masks."""
    distances = torch.where(masks > 0, 0.0, torch.inf)
    for step in range(1, max(masks.shape[2:])):
        dilated = max_pool2d(masks, 3, stride=1, padding=1)
        if torch.equal(dilated, masks):
            break
        distances = torch.where((dilated > 0) & (masks == 0), float(step), distances)
        masks = dilated
    return distances[:, 0]


def ray_limits(cameras: Cameras, bounds: Float[Tensor, "2 3"]) -> tuple[float, float]:
    """Smallest distance from any camera to the box, and largest to a corner of it."""
    outside = (bounds[0] - cameras.positions).clamp(min=0) + (cameras.positions - bounds[1]).clamp(min=0)
    corners = torch.cartesian_prod(*bounds.T)
    far = float((corners[None] - cameras.positions[:, None]).norm(dim=-1).max())
    return max(float(outside.norm(dim=-1).min()), MARGIN * far), far


def empty_ray_fraction(scene: Scene) -> float:
    """Share of the training rays through content that miss the bounds, 0..1.

    Only rays through pixels count that are not fully transparent and not left out by a mask.
    """
    train = scene.split("train")
    n, height, width = train.pictures.shape[:3]
    picked = torch.linspace(0, n * height * width - 1, min(CHECKED, n * height * width), dtype=torch.float64).long()
    camera, y, x = picked // (height * width), picked % (height * width) // width, picked % width
    visible = train.pictures[camera, y, x, 3] > 0
    if train.kept is not None:
        visible &= train.kept[camera, y, x]
    camera, pixels = camera[visible], torch.stack([x, y], dim=-1)[visible] + 0.5
    if not len(camera):
        return 0.0
    rays = train.cameras.rays(camera, pixels)
    enter, leave = intersect_box(rays.origins, rays.directions, scene.bounds, scene.near, scene.far)
    return float((leave <= enter).float().mean())
