"""Plenoxels (svox2, arXiv 2112.05131): a sparse grid of densities and spherical harmonics, read from its ``.npz``."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mappers.files import DAMAGED_ARRAY

from ..fields import FieldError, VolumeField
from .foreign import OffsetHarmonics, log_density

HARMONICS = 1
"""The number of its basis type "spherical harmonics"."""


class PlenoxelsField(VolumeField):
    """Trilinear interpolation of the nodes; nodes without data are zero.

    Args:
        links: row of each node's data, or a negative number.
        density: per unit length, before the rectifier.
        harmonics: coefficients of each channel.
        bounds: lower and upper corner.
    """

    name = "plenoxels"
    learned_head = False
    links: Tensor
    density: Tensor
    harmonics: Tensor

    def __init__(
        self,
        links: Int[Tensor, "x y z"],
        density: Float[Tensor, " m"],
        harmonics: Float[Tensor, "m f"],
        bounds: Float[Tensor, "2 3"],
    ):
        super().__init__(bounds)
        self.register_buffer("links", links)
        self.register_buffer("density", density)
        self.register_buffer("harmonics", harmonics)
        self.head = OffsetHarmonics(math.isqrt(harmonics.shape[1] // 3))

    @property
    def feature_size(self) -> int:
        return 1 + self.harmonics.shape[1]

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        size = torch.tensor(self.links.shape, device=unit.device)
        # Nodes are the middles of cells.
        at = torch.minimum((unit * size - 0.5).clamp(min=0), size - 1.0)
        low = torch.minimum(at.long(), size - 2)
        share = at - low
        values = unit.new_zeros(len(unit), self.feature_size)
        for corner in torch.cartesian_prod(*[torch.arange(2, device=unit.device)] * 3):
            row = self.links[tuple((low + corner).unbind(-1))].long()
            weight = torch.where(corner == 1, share, 1 - share).prod(-1) * (row >= 0)
            row = row.clamp(min=0)
            data = torch.cat([self.density[row, None], self.harmonics[row]], 1)
            values = values + weight[:, None] * data
        return torch.cat([log_density(values[:, :1].clamp(min=0)), values[:, 1:]], 1)


def read_plenoxels(path: Path) -> PlenoxelsField:
    """The field of a checkpoint.

    Raises:
        FieldError: the file is damaged, of another program, or of a kind of colours that is not read.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except (*DAMAGED_ARRAY, KeyError) as error:
        raise FieldError(f"{path} is not a readable .npz file ({error}); copy it again") from error
    missing = [name for name in ("links", "density_data", "sh_data") if name not in data]
    if missing:
        raise FieldError(f"{path} is not a checkpoint of Plenoxels: it has no {missing[0]}")
    if int(data.get("basis_type", HARMONICS)) != HARMONICS or "background_data" in data:
        raise FieldError(
            f"{path} has learned colours or a background sphere, which are not read; train Plenoxels with spherical"
            " harmonics and without background"
        )
    links, density, harmonics = data["links"], data["density_data"].reshape(-1), data["sh_data"]
    center, radius = (
        np.broadcast_to(np.asarray(data.get(name, default), np.float64), 3)
        for name, default in (("center", 0.0), ("radius", 1.0))
    )
    fits = links.ndim == 3 and min(links.shape) > 1 and links.dtype.kind in "iu" and harmonics.ndim == 2
    fits = fits and len(harmonics) == len(density) > int(links.max()) and harmonics.shape[1] in (3, 12, 27, 48)
    if not fits or not (radius > 0).all():
        raise FieldError(f"{path} has arrays whose shapes do not fit each other; save the checkpoint again")
    bounds = torch.from_numpy(np.stack([center - radius, center + radius])).float()
    if not (np.isfinite(density).all() and np.isfinite(harmonics).all()):
        raise FieldError(f"{path} has values that are not finite; train it again")
    values = (torch.from_numpy(array.astype(np.float32)) for array in (density, harmonics))
    return PlenoxelsField(torch.from_numpy(links.astype(np.int32)), next(values), next(values), bounds)
