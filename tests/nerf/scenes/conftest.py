"""One small synthetic scene, and writers that put it into a folder in each format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nerf.cameras import Cameras, random_orbits

WIDTH, HEIGHT = 12, 9


@dataclasses.dataclass
class Sample:
    """Pictures [n, h, w, 4] and their cameras."""

    pictures: np.ndarray
    cameras: Cameras

    def save(self, folder: Path, index: int, name: str, *, alpha: bool = True) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pictures[index] if alpha else self.pictures[index, ..., :3]).save(path)

    def matrix(self, index: int) -> list[list[float]]:
        return [*self.cameras.poses[index].tolist(), [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(3)
    cameras = random_orbits(
        10, radius=3.0, elevation=(0, 60), width=WIDTH, height=HEIGHT, focal=14.0, generator=generator
    )
    pictures = torch.randint(0, 256, (10, HEIGHT, WIDTH, 4), generator=generator, dtype=torch.uint8).numpy()
    return Sample(pictures, cameras)


@pytest.fixture
def blender(tmp_path: Path, sample: Sample) -> Path:
    """Splits of 6, 2 and 2."""
    for split, indices in {"train": range(6), "val": range(6, 8), "test": range(8, 10)}.items():
        frames = []
        for index in indices:
            sample.save(tmp_path, index, f"{split}/r_{index}.png")
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": sample.matrix(index)})
        angle = 2 * np.arctan(WIDTH / 2 / 14.0)
        write_json(tmp_path / f"transforms_{split}.json", {"camera_angle_x": angle, "frames": frames})
    return tmp_path


@pytest.fixture
def nerfstudio(tmp_path: Path, sample: Sample) -> Path:
    """Opaque pictures, intrinsics for all, no splits."""
    frames = []
    for index in range(10):
        sample.save(tmp_path, index, f"images/{index:02d}.png", alpha=False)
        frames.append({"file_path": f"images/{index:02d}.png", "transform_matrix": sample.matrix(index)})
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": 14.0, "fl_y": 14.0, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    write_json(tmp_path / "transforms.json", {**content, "frames": frames})
    return tmp_path


@pytest.fixture
def plain(tmp_path: Path, sample: Sample) -> Path:
    """Pictures with alpha and cameras.npz."""
    for index in range(10):
        sample.save(tmp_path, index, f"images/{index:02d}.png")
    np.savez(tmp_path / "cameras.npz", poses=sample.cameras.poses.numpy(), focal=14.0)
    return tmp_path


@pytest.fixture
def llff(tmp_path: Path, sample: Sample) -> Path:
    """Ten cameras side by side that look along -z; their mean is the identity and the smallest depth 4/3."""
    offsets = torch.tensor([[0.3, 0.1, 0.05], [0.5, -0.2, 0.0], [0.1, 0.4, -0.1], [0.2, 0.2, 0.1], [0.6, 0.0, 0.2]])
    poses = torch.eye(3, 4).repeat(10, 1, 1)
    poses[:, :, 3] = torch.cat([offsets, -offsets])
    sample.cameras = dataclasses.replace(sample.cameras, poses=poses)
    rows = np.zeros((10, 17))
    for index in range(10):
        sample.save(tmp_path, index, f"images/{index:02d}.png", alpha=False)
        pose = poses[index].double().numpy()
        down_right_back = np.stack([-pose[:, 1], pose[:, 0], pose[:, 2], pose[:, 3], [HEIGHT, WIDTH, 14.0]], axis=1)
        rows[index] = [*down_right_back.reshape(-1), 4 / 3 + 0.1 * index, 9.0]
    np.save(tmp_path / "poses_bounds.npy", rows)
    return tmp_path


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Change a JSON file in place."""

    def change(path: Path, how: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        how(content)
        write_json(path, content)

    return change
