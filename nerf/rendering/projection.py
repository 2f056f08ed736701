"""Gaussians in space to Gaussians in a picture: EWA splatting (Zwicker and others 2001), as 3DGS uses it.

3D Gaussian Splatting is arXiv 2308.04079; the filter that keeps thin Gaussians as bright in small pictures as in large
ones is that of Mip-Splatting (arXiv 2311.16493, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from ..cameras import Cameras

DILATION = 0.3
"""Variance that a pixel adds to every Gaussian in the picture, square pixels."""
WIDEST = 1.3
"""Where the projection is linearized at most, as a multiple of the field of view: beyond it Gaussians explode."""
NEAREST = 0.01
"""Depth below which a Gaussian is not drawn, as a share of the largest side of the cloud's box."""


@dataclass(frozen=True)
class Projected:
    """Gaussians of a picture, in the order of the cloud."""

    means: Float[Tensor, "n 2"]
    """Pixels."""
    covariances: Float[Tensor, "n 3"]
    """xx, xy and yy, square pixels, with `DILATION`."""
    depths: Float[Tensor, " n"]
    """Along the camera's axis, world units."""
    dimming: Float[Tensor, " n"]
    """Factor of the opacity that undoes what `DILATION` adds to the Gaussian's area, in 0..1."""
    visible: Bool[Tensor, " n"]
    """Which lie in front of the camera."""


def rotation_matrices(quaternions: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotations of quaternions w, x, y, z, which are normalized first."""
    w, x, y, z = normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def project(
    means: Float[Tensor, "n 3"],
    scales: Float[Tensor, "n 3"],
    quaternions: Float[Tensor, "n 4"],
    camera: Cameras,
    *,
    nearest: float,
) -> Projected:
    """The Gaussians as the first of the cameras sees them; differentiable.

    Args:
        means: world units.
        scales: standard deviations along the Gaussians' own axes, world units.
        quaternions: w, x, y, z; of any length.
        camera: a camera without lens distortion.
        nearest: depth below which Gaussians are not visible, world units.
    """
    pose = camera.poses[0].to(means)
    # The picture's axes are right, down and forward; the camera's own are right, up and back.
    to_camera = (pose[:, :3] * pose.new_tensor([1.0, -1.0, -1.0])).T
    local = (means - pose[:, 3]) @ to_camera.T
    visible = local[:, 2] > nearest
    depth = local[:, 2].clamp(min=nearest)
    focal, center = camera.focal[0].to(means), camera.center[0].to(means)
    plane = local[:, :2] / depth[:, None]
    size = means.new_tensor([camera.width, camera.height])
    limit = WIDEST * torch.maximum(center, size - center) / focal
    slope = plane.clamp(-limit, limit)
    zero = torch.zeros_like(depth)
    # Rows of the Jacobian of the perspective division.
    across = torch.stack([focal[0] / depth, zero, -focal[0] * slope[:, 0] / depth], -1)
    down = torch.stack([zero, focal[1] / depth, -focal[1] * slope[:, 1] / depth], -1)
    axes = to_camera @ (rotation_matrices(quaternions) * scales[:, None])
    across, down = (across[:, None] @ axes)[:, 0], (down[:, None] @ axes)[:, 0]
    xx, xy, yy = across.square().sum(-1), (across * down).sum(-1), down.square().sum(-1)
    before = (xx * yy - xy * xy).clamp(min=0)
    xx, yy = xx + DILATION, yy + DILATION
    # The gradient of a square root has no bound at zero, where a Gaussian is a line.
    dimming = (before / (xx * yy - xy * xy)).clamp(min=1e-6).sqrt()
    return Projected(plane * focal + center, torch.stack([xx, xy, yy], -1), depth, dimming, visible)
