"""Normalized device coordinates (NDC): a box that holds all that one camera sees, up to infinity (NeRF, appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

GRAZING = 1e-6
"""Least component along the axis that a ray may have; one that looks sideways or back then misses any box."""
INFINITE = 1e-3
"""Points whose z is nearer to 1 than twice this count as infinitely far."""


@dataclass(frozen=True, kw_only=True)
class NDC:
    """The frame of one camera, of which ``near`` and infinity are the planes z = -1 and z = +1.

    A field in NDC is trained, drawn and exported with the same frame; cameras and points outside it are in the world.
    """

    pose: tuple[tuple[float, ...], ...]
    """Camera to world, 3 rows of 4 numbers; the camera looks along its -z."""
    near: float
    """Distance of the near plane, world units."""
    scale: tuple[float, float]
    """Focal length over half the picture, along x and y."""

    def __post_init__(self) -> None:
        if not self.near > 0:
            raise ValueError(f"the near plane of NDC must have a positive distance, got {self.near}")

    @classmethod
    def of(cls, pose: Float[Tensor, "3 4"], near: float, scale: Float[Tensor, " 2"]) -> NDC:
        """The frame from tensors."""
        x, y = scale.tolist()
        return cls(pose=tuple(tuple(row) for row in pose.tolist()), near=near, scale=(x, y))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NDC:
        """The frame from its fields as JSON holds them."""
        x, y = values["scale"]
        return cls(pose=tuple(tuple(row) for row in values["pose"]), near=values["near"], scale=(x, y))

    def sees(self, poses: Float[Tensor, "n 3 4"]) -> Bool[Tensor, " n"]:
        """Which cameras look to the same side as the frame's own."""
        back = torch.tensor(self.pose).to(poses)[:, 2]
        return poses[:, :, 2] @ back > 0

    def rays(
        self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]
    ) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"]]:
        """Rays of the world in NDC (NeRF, equations 25 and 26), moved to the near plane first.

        They run from the near plane (t = 0) to infinity (t = 1).
        """
        pose = torch.tensor(self.pose).to(origins)
        turn = pose[:, :3]
        origins, directions = (origins - pose[:, 3]) @ turn, directions @ turn
        along = directions[:, 2:].clamp(max=-GRAZING)
        directions = torch.cat([directions[:, :2], along], dim=-1)
        ox, oy, oz = (origins - (self.near + origins[:, 2:]) / along * directions).unbind(-1)
        dx, dy, dz = directions.unbind(-1)
        x, y = self.scale
        moved = torch.stack([-x * ox / oz, -y * oy / oz, 1 + 2 * self.near / oz], dim=-1)
        slopes = [-x * (dx / dz - ox / oz), -y * (dy / dz - oy / oz), -2 * self.near / oz]
        return moved, torch.stack(slopes, dim=-1)

    def from_world(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Points in NDC; those of the world must lie in front of the camera."""
        pose = torch.tensor(self.pose).to(points)
        px, py, pz = ((points - pose[:, 3]) @ pose[:, :3]).unbind(-1)
        x, y = self.scale
        return torch.stack([-x * px / pz, -y * py / pz, 1 + 2 * self.near / pz], dim=-1)

    def to_world(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """The inverse of `from_world`; points with z = 1 are infinitely far."""
        pose = torch.tensor(self.pose).to(points)
        nx, ny, nz = points.unbind(-1)
        depth = 2 * self.near / (1 - nz)
        x, y = self.scale
        local = torch.stack([nx * depth / x, ny * depth / y, -depth], dim=-1)
        return local @ pose[:, :3].T + pose[:, 3]

    def reachable(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Which points in NDC are not infinitely far."""
        return points[:, 2] < 1 - 2 * INFINITE

    def density(self, points: Float[Tensor, "n 3"], density: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Density per unit length of the world, of points in NDC where it is per unit of rays' t.

        Along the axis t = 1 - near / depth, so that dt / d depth = near / depth².
        """
        return density * (1 - points[:, 2]).square() / (4 * self.near)

    def normals(self, points: Float[Tensor, "n 3"], gradients: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Gradients with respect to the world, from those with respect to NDC at points in NDC; of any length."""
        with torch.enable_grad():
            world = self.to_world(points).detach().requires_grad_()
            value = (self.from_world(world) * gradients).sum()
            return torch.autograd.grad(value, world)[0]
