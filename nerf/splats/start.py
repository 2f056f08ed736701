"""Splats in closed form from views with depth: a start that is already close, for the distillation of any field."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..fields.splat import SplatConfig, SplatField

NEIGHBORS = 3
"""Neighbours whose mean distance is a Gaussian's width (3DGS, arXiv 2308.04079, section 5.1)."""
AROUND = 12
"""Neighbours whose plane a Gaussian lies in."""
FLATNESS = 0.3
"""Width along the normal of that plane, as a share of the width along it."""
WIDTH = 0.5
"""Width of a Gaussian as a share of the distance to its neighbours."""
OPACITY = 0.95
GREY = 2 * math.sqrt(math.pi)
"""One over the constant spherical harmonic."""


def splats_on_surface(
    points: Float[Tensor, "m 3"],
    colors: Float[Tensor, "m 3"],
    bounds: Float[Tensor, "2 3"],
    config: SplatConfig,
    generator: torch.Generator,
) -> SplatField:
    """Flat Gaussians on a surface that is known by many points, thinned to the wanted count.

    Args:
        points: world units.
        colors: RGB in 0..1 of each.
        bounds: of the field.
        config: count and degree of the field. Where there are fewer points, some Gaussians start at the same place.
        generator: of the choice of points.

    Raises:
        ValueError: there is no point.
    """
    if not len(points):
        raise ValueError("no ray of the teacher's views ends at a surface; train the teacher longer")
    chosen = thinned(points, config.count, generator)
    at = points[chosen].cpu().double().numpy()
    tree = cKDTree(np.unique(at, axis=0))
    count = min(AROUND + 1, tree.n)
    distances, near = (np.atleast_2d(values) for values in tree.query(at, k=count))
    distances, near = distances.reshape(len(at), count), near.reshape(len(at), count)
    between = distances[:, 1 : NEIGHBORS + 1].mean(-1) if count > NEIGHBORS else np.full(len(at), 0.01)
    axes = _planes(np.asarray(tree.data)[near])
    field = SplatField(bounds.cpu(), config)
    width = torch.from_numpy(between).float().clamp(min=1e-4 * float((bounds[1] - bounds[0]).max())) * WIDTH
    with torch.no_grad():
        field.means.copy_(points[chosen])
        field.log_scales.copy_((width[:, None] * torch.tensor([1.0, 1.0, FLATNESS])).log())
        field.quaternions.copy_(_quaternions(torch.from_numpy(axes).float()))
        field.opacity_logits.fill_(math.log(OPACITY / (1 - OPACITY)))
        field.harmonics.zero_()
        field.harmonics[:, 0] = (colors[chosen] - 0.5) * GREY
    return field


def thinned(points: Float[Tensor, "m 3"], count: int, generator: torch.Generator) -> Tensor:
    """Indices of ``count`` points that are spread evenly: one for each cell of the grid that has about as many cells.

    Where there are fewer points than that, some come twice.
    """
    order = torch.randperm(len(points), generator=generator)
    shuffled = points[order].cpu()
    low, extent = shuffled.amin(0), float((shuffled.amax(0) - shuffled.amin(0)).max().clamp(min=1e-9))
    coarse, fine = 1.0, 2.0**16
    for _ in range(24):
        middle = math.sqrt(coarse * fine)
        if len(_first_of_cells(shuffled, low, extent / middle)) < count:
            coarse = middle
        else:
            fine = middle
    first = _first_of_cells(shuffled, low, extent / fine)
    first = first[torch.randperm(len(first), generator=generator)][:count]
    missing = count - len(first)
    spare = torch.randint(len(points), (missing,), generator=generator) if missing else first[:0]
    return order[torch.cat([first, spare])]


def _first_of_cells(points: Tensor, low: Tensor, side: float) -> Tensor:
    """The first point in each occupied cell of a grid."""
    cell = ((points - low) / side).floor().long()
    key = (cell[:, 0] * 2**42 + cell[:, 1] * 2**21 + cell[:, 2]).numpy()
    return torch.from_numpy(np.unique(key, return_index=True)[1])


def _planes(points: np.ndarray) -> np.ndarray:
    """Axes of clouds of points [n, k, 3] as columns [n, 3, 3]: two along the plane through them, and its normal."""
    centered = points - points.mean(1, keepdims=True)
    _, vectors = np.linalg.eigh(centered.transpose(0, 2, 1) @ centered)
    axes = vectors[:, :, ::-1].copy()
    axes[:, :, 2] *= np.sign(np.linalg.det(axes))[:, None]
    return axes


def _quaternions(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 4"]:
    """Quaternions w, x, y, z of rotations."""
    return torch.from_numpy(Rotation.from_matrix(rotations.double().numpy()).as_quat(scalar_first=True)).float()
