"""A small grids model whose networks are random but not too wild, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerf.compression.grids.exact import ExactModel
from nerf.compression.grids.model import GridsModel
from nerf.compression.grids.network import GridsNetwork

WIDTHS = {"fine_width": 6, "coarse_width": 5, "restoration_width": 8}


@pytest.fixture(scope="session")
def grids_model() -> GridsModel:
    torch.manual_seed(0)
    network = GridsNetwork(**WIDTHS)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "contexts" in name or "restoration" in name:
                value += 0.03 * torch.randn_like(value)
            if name.endswith("out.bias"):  # as after training, most coefficients are expected to be zero
                value[len(value) // 2 :] -= 1
    return GridsModel.trained(network, WIDTHS)


@pytest.fixture(scope="session")
def exact(grids_model: GridsModel) -> ExactModel:
    return ExactModel(grids_model)


@pytest.fixture(scope="session")
def grids_folder(grids_model: GridsModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("grids")
    grids_model.save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """Smooth colours with an edge and some noise, 90 x 70 pixels."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((90, 70), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(int)
    pixels[20:50, 30:60] += 40
    return Image.fromarray((pixels + rng.integers(-6, 7, pixels.shape)).clip(0, 255).astype(np.uint8))
