"""Checkpoints of TensoRF: their forward by SciPy's interpolation, and files that are damaged or name code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.nn import functional as F

from nerf.checkpoints.tensorf import read_tensorf
from nerf.fields import FieldError

SIZE, DENSITY, COLOR = (5, 6, 7), (2, 3, 2), (3, 2, 4)
BOX = torch.tensor([[-1.0, -1.5, -1.0], [1.0, 1.0, 2.0]])


def checkpoint(shading: str = "MLP_Fea", *, planes: bool = True) -> dict[str, Any]:
    """A file's content in the layout of TensorVMSplit or TensorCP."""
    torch.manual_seed(3)
    settings: dict[str, Any] = {
        "aabb": BOX, "gridSize": list(SIZE), "density_n_comp": list(DENSITY), "appearance_n_comp": list(COLOR),
        "app_dim": 27, "density_shift": -2, "alphaMask_thres": 1e-3, "distance_scale": 25,
        "rayMarch_weight_thres": 1e-4, "fea2denseAct": "softplus", "near_far": [2.0, 6.0], "step_ratio": 0.5,
        "shadingMode": shading, "pos_pe": 6, "view_pe": 2, "fea_pe": 1, "featureC": 16,
    }  # fmt: skip
    state: dict[str, torch.Tensor] = {}
    for kind, counts in (("density", DENSITY), ("app", COLOR)):
        for index, (axis, (u, v)) in enumerate(zip((2, 1, 0), ((0, 1), (0, 2), (1, 2)), strict=True)):
            count = counts[index] if planes else counts[0]
            state[f"{kind}_line.{index}"] = torch.randn(1, count, SIZE[axis], 1)
            if planes:
                state[f"{kind}_plane.{index}"] = torch.randn(1, count, SIZE[v], SIZE[u])
    state["basis_mat.weight"] = 0.3 * torch.randn(27, sum(COLOR) if planes else COLOR[0])
    inputs = 27 + 3 + 2 * 2 * 3 + (2 * 27 if shading == "MLP_Fea" else 0)
    if shading != "SH":
        for index, (a, b) in zip((0, 2, 4), ((inputs, 16), (16, 16), (16, 3)), strict=True):
            state[f"renderModule.mlp.{index}.weight"] = torch.randn(b, a) / a**0.5
            state[f"renderModule.mlp.{index}.bias"] = torch.randn(b)
    mask = np.ones((4, 4, 4), bool)
    mask[:, :, :2] = False
    return {"kwargs": settings, "state_dict": state, "alphaMask.shape": mask.shape,
            "alphaMask.mask": np.packbits(mask.reshape(-1)), "alphaMask.aabb": BOX}  # fmt: skip


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("planes", [True, False])
def test_density_is_the_sum_of_products_of_interpolated_factors(planes: bool, tmp_path: Path) -> None:
    content = checkpoint(planes=planes)
    content.pop("alphaMask.mask")
    field = read_tensorf(save(content, tmp_path / "a.th"))
    unit = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)).numpy()
    state = {
        name: value.numpy()[0] for name, value in content["state_dict"].items() if "line" in name or "plane" in name
    }

    def at(table: np.ndarray, *axes: int) -> np.ndarray:
        places = [unit[:, axis] * (SIZE[axis] - 1) for axis in axes]
        return np.stack([map_coordinates(one, places, order=1) for one in table])

    lines = [at(state[f"density_line.{i}"][:, :, 0], axis) for i, axis in enumerate((2, 1, 0))]
    if planes:
        tables = [at(state[f"density_plane.{i}"], v, u) for i, (u, v) in enumerate(((0, 1), (0, 2), (1, 2)))]
        total = sum((plane * line).sum(0) for plane, line in zip(tables, lines, strict=True))
    else:
        total = (lines[0] * lines[1] * lines[2]).sum(0)
    truth = 25 * F.softplus(torch.from_numpy(np.asarray(total)) - 2)
    points = BOX[0] + torch.from_numpy(unit) * (BOX[1] - BOX[0])
    density, _ = field(points, None)
    torch.testing.assert_close(density.double(), truth.double(), atol=1e-4, rtol=1e-4)


def test_the_mask_empties_what_it_leaves_out_and_colours_depend_on_the_view(tmp_path: Path) -> None:
    for shading in ("MLP_Fea", "MLP", "SH"):
        field = read_tensorf(save(checkpoint(shading), tmp_path / "a.th"))
        points = torch.tensor([[-0.9, 0.0, 0.0], [0.9, 0.0, 0.0]])
        density, color = field(points, F.normalize(torch.ones(2, 3), dim=-1))
        assert float(density[0]) < 1e-4
        assert float(density[1]) > 1e-4
        _, other = field(points, -F.normalize(torch.ones(2, 3), dim=-1))
        assert not torch.allclose(color, other)


class Hostile:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["kwargs"].update(shadingMode="MLP_PE"), "the shading MLP_PE, which is not read"),
        (lambda c: c["state_dict"].pop("app_line.1"), "do not fit its settings"),
        (lambda c: c["state_dict"].update({"app_line.1": torch.zeros(1, 9, 6, 1)}), "do not fit its settings"),
        (lambda c: c["state_dict"]["density_line.0"].fill_(float("nan")), "weights that are not finite"),
        (lambda c: c.pop("kwargs"), "not a checkpoint of TensoRF"),
    ],
)
def test_damaged_checkpoints_are_one_sentence(change: Callable[..., Any], sentence: str, tmp_path: Path) -> None:
    content = checkpoint()
    change(content)
    with pytest.raises(FieldError, match=sentence):
        read_tensorf(save(content, tmp_path / "a.th"))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    content = {**checkpoint(), "extra": Hostile(tmp_path / "made")}
    with pytest.raises(FieldError, match="without running code"):
        read_tensorf(save(content, tmp_path / "a.th"))
    assert not (tmp_path / "made").exists()
    (tmp_path / "b.th").write_bytes((tmp_path / "a.th").read_bytes()[:500])
    with pytest.raises(FieldError, match="b.th"):
        read_tensorf(tmp_path / "b.th")
