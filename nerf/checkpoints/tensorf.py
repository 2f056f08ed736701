"""TensoRF (arXiv 2203.09517): factors of a tensor and a small network for colours, read from its ``.th``."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..fields import FieldError, VolumeField
from .foreign import OffsetHarmonics, log_density

PLANES, LINES = ((0, 1), (0, 2), (1, 2)), (2, 1, 0)
"""Axes of the planes, and of the lines that belong to them."""
ALLOWED = [
    np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype, np.dtypes.UInt8DType,
    np.dtypes.BoolDType, np.dtypes.Int64DType, np.dtypes.Float64DType,
]  # fmt: skip
"""What the pickle of a checkpoint may name besides tensors: arrays of plain numbers. Nothing in it is run."""
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, AttributeError, TypeError, OSError,
    ArithmeticError, AssertionError,
)  # fmt: skip
"""What unpickling a damaged file may raise."""
SHADINGS = {"MLP_Fea": ("features", "views"), "MLP": ("views",)}
"""Networks of colours, and which of their inputs have sines and cosines. "MLP_PE" does not run in TensoRF's code."""


class Shading(nn.Module):
    """TensoRF's network of colours.

    Args:
        mlp: the network.
        kind: a key of `SHADINGS`.
        octaves: sines and cosines of each input.
    """

    def __init__(self, mlp: nn.Sequential, kind: str, octaves: Mapping[str, int]):
        super().__init__()
        self.mlp, self.kind, self.octaves = mlp, kind, dict(octaves)

    def forward(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1."""
        given = {"features": features, "views": views}
        inputs = [features, views]
        for name in SHADINGS[self.kind]:
            if self.octaves[name]:
                waves = given[name][..., None] * 2.0 ** torch.arange(self.octaves[name], device=views.device)
                inputs += [waves.flatten(1).sin(), waves.flatten(1).cos()]
        return self.mlp(torch.cat(inputs, -1)).sigmoid()


class TensoRFField(VolumeField):
    """A field of factors: vectors and matrices (VM) or vectors alone (CP).

    Args:
        settings: the checkpoint's own settings.
        state: its tensors.
        bounds: lower and upper corner.
        mask: cells that may have density, and their box; None for all.
    """

    name = "tensorf"
    learned_head = False

    def __init__(
        self,
        settings: Mapping[str, Any],
        state: Mapping[str, Tensor],
        bounds: Float[Tensor, "2 3"],
        mask: tuple[Float[Tensor, "z y x"], Float[Tensor, "2 3"]] | None = None,
    ):
        super().__init__(bounds)
        self.settings, self.mask = dict(settings), mask
        for name, value in state.items():
            if not name.startswith("renderModule."):
                self.register_buffer(name.replace(".", "_"), value.float())
        self.planes = "density_plane.0" in state
        self.dim, shading = int(settings["app_dim"]), str(settings["shadingMode"])
        if shading == "SH":
            self.head: nn.Module = OffsetHarmonics(3)
            return
        octaves = {"features": settings["fea_pe"], "views": settings["view_pe"]}
        layers: list[nn.Module] = []
        for index in (0, 2, 4):
            weight = state[f"renderModule.mlp.{index}.weight"]
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": state[f"renderModule.mlp.{index}.bias"]})
            layers += [layer, nn.ReLU()]
        self.head = Shading(nn.Sequential(*layers[:-1]), shading, octaves)

    @property
    def feature_size(self) -> int:
        return 1 + self.dim

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        at = 2 * unit - 1
        density = self._products("density", at).sum(0)
        color = self._products("app", at).T @ self.get_buffer("basis_mat_weight").T
        if self.settings["fea2denseAct"] == "softplus":
            density = F.softplus(density + self.settings["density_shift"])
        density = density.clamp(min=0) * self.settings["distance_scale"] * self._allowed(unit)
        return torch.cat([log_density(density)[:, None], color], 1)

    def _products(self, kind: str, at: Float[Tensor, "n 3"]) -> Float[Tensor, "c n"]:
        """The products of a point's factors, one component after the other."""
        lines = []
        for index, axis in enumerate(LINES):
            place = torch.stack([torch.zeros_like(at[:, axis]), at[:, axis]], -1)
            lines.append(_sample(self.get_buffer(f"{kind}_line_{index}"), place))
        if not self.planes:
            return lines[0] * lines[1] * lines[2]
        planes = [_sample(self.get_buffer(f"{kind}_plane_{i}"), at[:, list(axes)]) for i, axes in enumerate(PLANES)]
        return torch.cat([plane * line for plane, line in zip(planes, lines, strict=True)])

    def _allowed(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """1 where the checkpoint's mask may have density, else 0."""
        if self.mask is None:
            return torch.ones_like(unit[:, 0])
        volume, (low, high) = self.mask[0].to(unit), self.mask[1].to(unit)
        at = 2 * (self.bounds[0] + unit * (self.bounds[1] - self.bounds[0]) - low) / (high - low) - 1
        found = F.grid_sample(volume[None, None], at[None, :, None, None], align_corners=True)
        return (found.flatten() > 0).to(unit)


def _sample(table: Float[Tensor, "1 c h w"], at: Float[Tensor, "n 2"]) -> Float[Tensor, "c n"]:
    return F.grid_sample(table, at[None, :, None], align_corners=True)[0, :, :, 0]


def read_tensorf(path: Path) -> TensoRFField:
    """The field of a checkpoint.

    Raises:
        FieldError: the file is damaged, names code, or is of another program or version.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FieldError(f"{path} is not a checkpoint that can be read without running code ({said})") from error
    if not isinstance(held, dict) or not {"kwargs", "state_dict"} <= held.keys():
        raise FieldError(f"{path} is not a checkpoint of TensoRF: it has no kwargs and state_dict")
    settings, state = held["kwargs"], held["state_dict"]
    shading = settings.get("shadingMode")
    if shading not in (*SHADINGS, "SH"):
        raise FieldError(f"{path} has the shading {shading}, which is not read; known are {', '.join(SHADINGS)} and SH")
    try:
        bounds = torch.as_tensor(settings["aabb"]).float().view(2, 3)
        mask = None
        if "alphaMask.mask" in held:
            shape = [int(side) for side in held["alphaMask.shape"]][-3:]
            bits = np.unpackbits(np.asarray(held["alphaMask.mask"]))[: int(np.prod(shape))]
            mask = torch.from_numpy(bits.reshape(shape)).float(), torch.as_tensor(held["alphaMask.aabb"]).float()
        field = TensoRFField(settings, state, bounds, mask)
        with torch.no_grad():
            field(field.bounds.mean(0, keepdim=True), torch.tensor([[0.0, 0.0, 1.0]]))
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FieldError(f"{path} has tensors that do not fit its settings ({error}); save it again") from error
    if not all(value.isfinite().all() for value in state.values()):
        raise FieldError(f"{path} has weights that are not finite; train it again")
    return field
