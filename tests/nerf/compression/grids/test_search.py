"""The search finds coefficients that are better together than each one rounded."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from nerf.compression.grids.encoder import Coded, Encoder
from nerf.compression.grids.exact import ExactModel
from nerf.compression.grids.model import GridsModel
from nerf.compression.grids.network import LAGRANGIAN
from nerf.compression.grids.search import soft_rounded

STEP = 175


def loss(encoder: Encoder, coded: Coded, points: int) -> float:
    """Bits, and squared error in the bits that it is worth."""
    error = 3 * points * 255**2 * 10 ** (-encoder.quality(coded) / 10)
    return sum(writer.bits for writer in coded.writers) + error / (LAGRANGIAN * float(encoder.exact.steps[STEP]) ** 2)


def test_a_search_lowers_the_loss(grids_model: GridsModel, exact: ExactModel, photo: Image.Image) -> None:
    picture = np.asarray(photo.crop((0, 0, 64, 32))).transpose(2, 0, 1).copy()
    encoder = Encoder(grids_model, exact, [picture], 0)
    rounded = encoder.at(STEP, 0.0)
    found = encoder.at(STEP, 0.0, encoder.searched(rounded, 30))
    assert loss(encoder, found, 64 * 32) < 0.99 * loss(encoder, rounded, 64 * 32)


def test_soft_rounding_becomes_rounding() -> None:
    values = torch.tensor([-1.3, -0.6, 0.0, 0.2, 0.49, 0.51, 2.9])
    torch.testing.assert_close(soft_rounded(values, 0.005), values.round(), atol=2e-2, rtol=0)
    torch.testing.assert_close(soft_rounded(values, 20.0), values, atol=1e-3, rtol=0)
