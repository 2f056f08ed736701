"""Cameras, the rays through their pixels, and generated camera paths.

One frame everywhere: the world is right-handed; a camera looks along its own -z, with x to the right and y up
(OpenGL). Pixels are continuous, (0, 0) is the picture's top left corner and (0.5, 0.5) the first pixel's centre.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from .ndc import NDC

Index = int | slice | Sequence[int] | Int[Tensor, " i"] | Bool[Tensor, " n"]

ORTHONORMAL = 1e-3
"""Largest entry of RᵀR - 1 that a rotation may have; it allows numbers rounded to four decimals."""
NEWTON_STEPS = 8
"""Newton steps of undistortion. Each squares the error; the lens of a phone needs three."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays origin + t * direction."""

    origins: Float[Tensor, "b 3"]
    directions: Float[Tensor, "b 3"]
    """Unit vectors in the world; in NDC, vectors whose length makes t run from 0 (near) to 1 (infinity)."""
    views: Float[Tensor, "b 3"]
    """Unit direction in the world, on which colour depends; it differs from ``directions`` only in NDC."""
    times: Float[Tensor, " b"] | None = None
    """Time of each ray in 0..1, in a scene that moves."""

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: Index) -> Rays:
        if isinstance(index, int):
            index = [index]
        times = None if self.times is None else self.times[index]
        return Rays(self.origins[index], self.directions[index], self.views[index], times)

    def to(self, device: torch.device | str) -> Rays:
        """The same rays on ``device``."""
        times = None if self.times is None else self.times.to(device)
        return Rays(self.origins.to(device), self.directions.to(device), self.views.to(device), times)


@dataclass(frozen=True, eq=False)
class Cameras:
    """n cameras of one picture size.

    Raises:
        ValueError: shapes disagree, a number is not finite, a focal length is not positive, a rotation is not
            orthonormal and right-handed within `ORTHONORMAL`, or a camera looks away from the side that NDC show.
    """

    poses: Float[Tensor, "n 3 4"]
    """Camera to world: rotation and position."""
    focal: Float[Tensor, "n 2"]
    """Focal lengths along x and y, pixels."""
    center: Float[Tensor, "n 2"]
    """Principal point, pixels from the picture's top left corner."""
    width: int
    height: int
    distortion: Float[Tensor, "n 6"] | None = None
    """k1, k2, p1, p2, k3, k4: radial 1 + k1 r² + k2 r⁴ + k3 r⁶ + k4 r⁸ and OpenCV's tangential terms."""
    ndc: NDC | None = None
    """The frame in which rays live; None: the world."""
    times: Float[Tensor, " n"] | None = None
    """Time of each picture, 0 (first) to 1 (last); None in a scene that does not move."""

    def __post_init__(self) -> None:
        n = len(self.poses)
        wanted = {"poses": (n, 3, 4), "focal": (n, 2), "center": (n, 2), "distortion": (n, 6), "times": (n,)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(f"{name} of {n} cameras must have the shape {list(shape)}, got {list(value.shape)}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture needs at least one pixel, got {self.width}x{self.height}")
        check_cameras(self.poses, self.focal, self.center, self.distortion)
        if self.times is not None and not ((self.times >= 0) & (self.times <= 1)).all():
            raise ValueError(f"times of pictures must lie in 0..1, got {self.times.min():g} to {self.times.max():g}")
        backward = [] if self.ndc is None else (~self.ndc.sees(self.poses)).nonzero().flatten().tolist()
        if backward:
            raise ValueError(
                f"NDC needs cameras that look to one side; camera {backward[0]} looks back; load the scene without NDC"
                " (ndc=False, --no-ndc)"
            )

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: Index) -> Cameras:
        if isinstance(index, int):
            index = [index]
        index = index if isinstance(index, slice) else torch.as_tensor(index, device=self.poses.device)
        if isinstance(index, Tensor) and not index.numel() and index.dtype != torch.bool:
            index = index.long()  # an empty list becomes a float tensor
        distortion = None if self.distortion is None else self.distortion[index]
        times = None if self.times is None else self.times[index]
        return dataclasses.replace(
            self, poses=self.poses[index], focal=self.focal[index], center=self.center[index], distortion=distortion,
            times=times,
        )  # fmt: skip

    @staticmethod
    def pinhole(
        poses: Float[Tensor, "n 3 4"], *, width: int, height: int, focal: float, ndc: NDC | None = None
    ) -> Cameras:
        """Cameras at ``poses`` without distortion, with one focal length and the principal point in the middle."""
        n = len(poses)
        center = torch.tensor([width / 2, height / 2]).expand(n, 2).to(poses)
        return Cameras(poses, torch.full((n, 2), focal).to(poses), center, width, height, ndc=ndc)

    @property
    def positions(self) -> Float[Tensor, "n 3"]:
        """Positions of the cameras in the world."""
        return self.poses[:, :, 3]

    @property
    def forward(self) -> Float[Tensor, "n 3"]:
        """Unit directions that the cameras look along."""
        return -self.poses[:, :, 2]

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on ``device``."""
        distortion = None if self.distortion is None else self.distortion.to(device)
        times = None if self.times is None else self.times.to(device)
        return dataclasses.replace(
            self, poses=self.poses.to(device), focal=self.focal.to(device), center=self.center.to(device),
            distortion=distortion, times=times,
        )  # fmt: skip

    def scaled(self, factor: float) -> Cameras:
        """Cameras of pictures ``factor`` times smaller, sizes rounded to whole pixels; the view stays the same."""
        width, height = max(1, round(self.width / factor)), max(1, round(self.height / factor))
        ratio = torch.tensor([width / self.width, height / self.height]).to(self.focal)
        return dataclasses.replace(
            self, focal=self.focal * ratio, center=self.center * ratio, width=width, height=height
        )

    def rays(self, camera: Int[Tensor, " b"], pixels: Float[Tensor, "b 2"]) -> Rays:
        """Rays through points (x, y) of pictures.

        Args:
            camera: index of the camera of each ray.
            pixels: continuous coordinates, 0..width and 0..height.
        """
        plane = (pixels - self.center[camera]) / self.focal[camera]
        if self.distortion is not None:
            plane = undistort(plane, self.distortion[camera])
        local = torch.stack([plane[:, 0], -plane[:, 1], -torch.ones_like(plane[:, 0])], dim=-1)
        poses = self.poses[camera]
        views = torch.nn.functional.normalize((poses[:, :, :3] @ local[:, :, None])[:, :, 0], dim=-1)
        origins = poses[:, :, 3]
        times = None if self.times is None else self.times[camera]
        if self.ndc is None:
            return Rays(origins, views, views, times)
        return Rays(*self.ndc.rays(origins, views), views, times)

    def picture_rays(self, index: int) -> Rays:
        """Rays through the pixel centres of one picture, row by row from the top left: height * width of them."""
        pixels = pixel_centers(self.width, self.height).to(self.poses)
        return self.rays(torch.full((len(pixels),), index, device=pixels.device), pixels)


def check_cameras(
    poses: Float[Tensor, "n 3 4"],
    focal: Float[Tensor, "n 2"],
    center: Float[Tensor, "n 2"],
    distortion: Float[Tensor, "n 6"] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Refuse cameras that are not valid.

    Raises:
        ValueError: naming the first picture (by ``names``, else its number) and what is wrong with it.
    """
    rotation = poses[:, :, :3]
    off = (rotation.transpose(1, 2) @ rotation - torch.eye(3).to(poses)).abs().amax(dim=(1, 2))
    determinant = torch.linalg.det(rotation.float())
    problems = (
        (~poses.isfinite().all(dim=(1, 2)), "has a pose with numbers that are not finite"),
        (determinant.abs() < 1e-6, "has a singular pose: its rotation has no inverse"),
        (determinant < 0, "has a pose that mirrors: its rotation has the determinant -1, so an axis is flipped"),
        (~(off <= ORTHONORMAL), "has a pose whose rotation is not orthonormal"),
        (~(focal.isfinite() & (focal > 0)).all(dim=1), "has a focal length that is not a positive number"),
        (~center.isfinite().all(dim=1), "has a principal point that is not finite"),
    )
    if distortion is not None:
        problems += ((~distortion.isfinite().all(dim=1), "has distortion that is not finite"),)
    for bad, sentence in problems:
        if bad.any():
            first = int(bad.nonzero()[0])
            raise ValueError(f"picture {names[first] if names else first} {sentence}")


def pixel_centers(width: int, height: int) -> Float[Tensor, "p 2"]:
    """Centres (x, y) of all pixels of a picture, row by row."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def distort(plane: Float[Tensor, "b 2"], distortion: Float[Tensor, "b 6"]) -> Float[Tensor, "b 2"]:
    """Distorted positions of points of the ideal image plane at distance 1 (x right, y down)."""
    moved, _ = _distort(plane, distortion)
    return moved


def undistort(plane: Float[Tensor, "b 2"], distortion: Float[Tensor, "b 6"]) -> Float[Tensor, "b 2"]:
    """The inverse of `distort` by Newton's method, started at the distorted points."""
    guess = plane
    for _ in range(NEWTON_STEPS):
        moved, (a, b, d) = _distort(guess, distortion)
        error = moved - plane
        determinant = a * d - b * b
        determinant = torch.where(determinant.abs() < 1e-6, torch.full_like(determinant, 1e-6), determinant)
        x = (d * error[:, 0] - b * error[:, 1]) / determinant
        y = (a * error[:, 1] - b * error[:, 0]) / determinant
        guess = guess - torch.stack([x, y], dim=-1)
    return guess


def _distort(
    plane: Float[Tensor, "b 2"], distortion: Float[Tensor, "b 6"]
) -> tuple[Float[Tensor, "b 2"], tuple[Tensor, Tensor, Tensor]]:
    """Distorted points, and the Jacobian's entries (dx/dx, dx/dy = dy/dx, dy/dy)."""
    x, y = plane.unbind(-1)
    k1, k2, p1, p2, k3, k4 = distortion.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * (3 * k3 + r2 * 4 * k4)))
    moved = torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        ],
        dim=-1,
    )
    xx = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
    xy = x * y * slope + 2 * p1 * x + 2 * p2 * y
    yy = radial + y * y * slope + 2 * p2 * x + 6 * p1 * y
    return moved, (xx, xy, yy)


def look_at(
    positions: Float[Tensor, "n 3"],
    target: Float[Tensor, "*#n 3"] | Sequence[float],
    up: Sequence[float] = (0.0, 0.0, 1.0),
) -> Float[Tensor, "n 3 4"]:
    """Poses at ``positions`` that look at ``target`` and keep ``up`` upwards in the picture.

    Raises:
        ValueError: a camera stands on its target.
    """
    target = torch.as_tensor(target, dtype=positions.dtype, device=positions.device).expand_as(positions)
    back = positions - target
    if len(back) and back.norm(dim=-1).min() < 1e-6:
        raise ValueError("a camera cannot look at its own position; move the camera or its target")
    back = torch.nn.functional.normalize(back, dim=-1)
    above = torch.as_tensor(up, dtype=positions.dtype, device=positions.device).expand_as(back)
    # A view straight along `up` leaves the roll open; any axis that is not parallel to it defines one.
    spare = torch.zeros_like(above).scatter(1, above.abs().argmin(dim=1, keepdim=True), 1.0)
    parallel = torch.linalg.cross(above, back).norm(dim=-1, keepdim=True) < 1e-4
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.where(parallel, spare, above), back), dim=-1)
    return torch.stack([right, torch.linalg.cross(back, right), back, positions], dim=-1)


def orbit(
    count: int, *, radius: float, elevation: float, width: int, height: int, focal: float,
    center: Sequence[float] = (0.0, 0.0, 0.0), up: Sequence[float] = (0.0, 0.0, 1.0),
) -> Cameras:  # fmt: skip
    """A turntable: ``count`` cameras once around ``center``, which they look at.

    Args:
        radius: distance to the centre.
        elevation: degrees above the plane that ``up`` is normal to.
        focal: pixels.
    """
    azimuth = torch.arange(count) / max(count, 1) * 2 * math.pi
    directions = spherical(azimuth, torch.full_like(azimuth, math.radians(elevation)), up)
    positions = torch.tensor(center) + radius * directions
    return Cameras.pinhole(look_at(positions, center, up), width=width, height=height, focal=focal)


def random_orbits(
    count: int, *, radius: float | tuple[float, float], elevation: tuple[float, float], width: int, height: int,
    focal: float, center: Sequence[float] = (0.0, 0.0, 0.0), up: Sequence[float] = (0.0, 0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Cameras:  # fmt: skip
    """Cameras anywhere on a belt of a sphere around ``center``, which they look at.

    Uniform by area, so that cameras thin out towards the pole; PVD's stair of ⌊(90 - a)/15⌋ + 1 cameras for each
    degree a of elevation is a coarse version of the same.

    Args:
        radius: of the sphere, or the range that it is drawn from.
        elevation: lowest and highest, degrees.
    """
    turn, rise, far = torch.rand(3, count, generator=generator)
    low, high = (math.sin(math.radians(angle)) for angle in elevation)
    directions = spherical(turn * 2 * math.pi, (low + (high - low) * rise).asin(), up)
    near, distant = radius if isinstance(radius, tuple) else (radius, radius)
    positions = torch.tensor(center) + (near + (distant - near) * far)[:, None] * directions
    return Cameras.pinhole(look_at(positions, center, up), width=width, height=height, focal=focal)


def spherical(
    azimuth: Float[Tensor, " n"], elevation: Float[Tensor, " n"], up: Sequence[float]
) -> Float[Tensor, "n 3"]:
    """Unit vectors at angles (radians) around ``up``; with z up, azimuth runs from x to y."""
    pole = torch.nn.functional.normalize(torch.as_tensor(up).float(), dim=0)
    first = torch.eye(3)[int(pole.abs().argmin())]
    first = torch.nn.functional.normalize(first - (first @ pole) * pole, dim=0)
    second = torch.linalg.cross(pole, first)
    flat = azimuth.cos()[:, None] * first + azimuth.sin()[:, None] * second
    return elevation.cos()[:, None] * flat + elevation.sin()[:, None] * pole


def mean_pose(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3 4"]:
    """The camera at the mean position that looks along the mean direction, with the mean up."""
    normalize = torch.nn.functional.normalize
    back = normalize(poses[:, :, 2].sum(0), dim=0)
    right = normalize(torch.linalg.cross(poses[:, :, 1].sum(0), back), dim=0)
    return torch.stack([right, torch.linalg.cross(back, right), back, poses[:, :, 3].mean(0)], dim=-1)


def nearest_to_axes(cameras: Cameras) -> Float[Tensor, " 3"]:
    """The point with the least sum of squared distances to the optical axes of all cameras."""
    forward = cameras.forward
    across = torch.eye(3) - forward[:, :, None] * forward[:, None]
    # Parallel axes leave the depth open; the small term then keeps the point near the cameras.
    system = across.sum(0) + 1e-6 * len(cameras) * torch.eye(3)
    right = (across @ cameras.positions[:, :, None])[:, :, 0].sum(0)
    return torch.linalg.solve(system, right)


def degrees_between(a: Float[Tensor, "*#n 3"], b: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*#n"]:
    """Angles between directions of any length, in 0..180."""
    return torch.rad2deg(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1).acos())
