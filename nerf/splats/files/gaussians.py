"""Gaussians as splat files hold them, and the turn between their axes and this package's world."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ...fields import FieldError
from ...fields.base import other_signs, spherical_harmonics
from ...fields.splat import SplatConfig, SplatField

UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""From this package's world, with z up, to that of splat files: x to the right, y down, z forward."""
MARGIN = 0.05
"""Width of the border between the means and the box of a cloud that is read, as a share of the box."""
OUTSIDE = 0.005
"""Share of the means on each side of an axis that may lie outside the box: captures have stray Gaussians."""


FAINT = -2.2
"""Logit of an opacity of 0.1; fainter Gaussians do not count for the box."""
FARTHEST, WIDEST = 1e9, 50.0
"""Largest coordinate, and largest logarithm of a scale, of a Gaussian that is read."""
SOLID = 15.0
"""Largest logit of an opacity: 1 - 3e-7."""


class Gaussians(NamedTuple):
    """n Gaussians in the axes of INRIA's files: x to the right, y down, z forward."""

    means: Float[np.ndarray, "n 3"]
    log_scales: Float[np.ndarray, "n 3"]
    quaternions: Float[np.ndarray, "n 4"]
    """w, x, y, z."""
    opacity_logits: Float[np.ndarray, " n"]
    harmonics: Float[np.ndarray, "n k 3"]
    """Coefficients of INRIA's spherical harmonics, whose signs are `other_signs`."""


def from_field(field: SplatField) -> Gaussians:
    """The Gaussians of a field, in the axes of files."""
    means, log_scales, quaternions, logits, harmonics = (
        values.detach().cpu().double().numpy()
        for values in (field.means, field.log_scales, field.quaternions, field.opacity_logits, field.harmonics)
    )
    return _turned(Gaussians(means, log_scales, quaternions, logits, harmonics * _signs(harmonics)), UPRIGHT)


def to_field(gaussians: Gaussians, name: str) -> SplatField:
    """A field with a box around the means, in this package's world.

    Args:
        gaussians: what a file holds.
        name: of the file, for messages.

    Raises:
        FieldError: there are none, or values are not finite or have no meaning; the message counts them.
    """
    # Where opacities were bytes, 0 and 255 are infinite logits.
    gaussians = gaussians._replace(opacity_logits=gaussians.opacity_logits.clip(-SOLID, SOLID))
    _check(gaussians, name)
    turned = _turned(gaussians, UPRIGHT.T)
    means = torch.from_numpy(turned.means).float()
    seen = turned.opacity_logits > FAINT
    solid = turned.means[seen] if seen.any() else turned.means
    low, high = (torch.from_numpy(np.quantile(solid, share, axis=0)).float() for share in (OUTSIDE, 1 - OUTSIDE))
    border = (MARGIN * (high - low).max()).clamp(min=1e-3)
    degree = math.isqrt(gaussians.harmonics.shape[1]) - 1
    field = SplatField(torch.stack([low - border, high + border]), SplatConfig(count=len(means), degree=degree))
    values = turned._replace(harmonics=turned.harmonics * _signs(turned.harmonics))
    with torch.no_grad():
        for parameter, value in zip(field.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return field


def _check(gaussians: Gaussians, name: str) -> None:
    if not len(gaussians.means):
        raise FieldError(f"{name} holds no Gaussians; export it again")
    bad = np.zeros(len(gaussians.means), bool)
    for values in gaussians:
        bad |= ~np.isfinite(values.reshape(len(values), -1)).all(-1)
    bad |= np.linalg.norm(gaussians.quaternions, axis=-1) < 1e-9
    bad |= (np.abs(gaussians.means) > FARTHEST).any(-1) | (np.abs(gaussians.log_scales) > WIDEST).any(-1)
    if bad.any():
        raise FieldError(
            f"{name} has {int(bad.sum())} of {len(bad)} Gaussians with values that are not finite or too large, or with"
            " a rotation of length zero; remove them in an editor of splats, or export it again"
        )


def _signs(harmonics: np.ndarray) -> np.ndarray:
    """The sign of each coefficient between the two conventions, [k, 1]."""
    return other_signs(harmonics.shape[1]).double().numpy()[:, None]


def _turned(gaussians: Gaussians, turn: np.ndarray) -> Gaussians:
    """The Gaussians in other axes.

    Args:
        turn: a rotation; rows are the new axes.
    """
    if not len(gaussians.means):
        return gaussians
    own = Rotation.from_quat(gaussians.quaternions, scalar_first=True)
    quaternions = (Rotation.from_matrix(turn) * own).as_quat(scalar_first=True)
    degree = math.isqrt(gaussians.harmonics.shape[1])
    signs = _signs(gaussians.harmonics)
    harmonics = np.einsum("ij,njc->nic", turned_harmonics(turn, degree), gaussians.harmonics * signs) * signs
    return gaussians._replace(means=gaussians.means @ turn.T, quaternions=quaternions, harmonics=harmonics)


def turned_harmonics(turn: np.ndarray, bands: int) -> np.ndarray:
    """The matrix [k, k] that takes coefficients of a function on the sphere to those of the turned function."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(64, 3, generator=generator, dtype=torch.float64), dim=-1)
    before = spherical_harmonics(directions @ torch.from_numpy(turn), bands)
    after = spherical_harmonics(directions, bands)
    return np.linalg.lstsq(after.numpy(), before.numpy(), rcond=None)[0]


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Opacity of a logit."""
    return 1 / (1 + np.exp(-values.clip(-60, 60)))


def logit_of_byte(opacity: np.ndarray) -> np.ndarray:
    """The logit of opacities in 0..255; 0 and 255 are taken as half a step inside."""
    share = (opacity / 255.0).clip(0.5 / 255, 1 - 0.5 / 255)
    return np.log(share / (1 - share))


def to_byte(values: np.ndarray) -> np.ndarray:
    """The nearest whole numbers in 0..255."""
    return values.round().clip(0, 255).astype(np.uint8)
