"""Camera paths: the numbers of nerfstudio's viewer, and transforms files without pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nerf.camera_path import read_camera_path
from nerf.cameras import look_at
from nerf.scenes import SceneError

POSES = look_at(torch.tensor([[3.0, 0.0, 1.0], [0.0, 3.0, 1.0]]), (0.0, 0.0, 0.0))
MATRICES = [[*pose.tolist(), [0.0, 0.0, 0.0, 1.0]] for pose in POSES]


def written(tmp_path: Path, **changes: Any) -> Path:
    entries = [{"camera_to_world": sum(matrix, []), "fov": 40.0, "aspect": 2.0} for matrix in MATRICES]
    content = {"camera_type": "perspective", "render_width": 64, "render_height": 32, "fps": 12, "camera_path": entries}
    path = tmp_path / "path.json"
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


def test_a_path_of_nerfstudio(tmp_path: Path) -> None:
    """The angle of view is vertical, in degrees; matrices are camera to world, row by row."""
    path = read_camera_path(written(tmp_path), size=(10, 10))
    cameras = path.cameras
    assert (cameras.width, cameras.height, path.fps) == (64, 32, 12.0)
    torch.testing.assert_close(cameras.poses, POSES)
    top = cameras.rays(torch.tensor([0]), torch.tensor([[32.0, 0.0]])).views
    bottom = cameras.rays(torch.tensor([0]), torch.tensor([[32.0, 32.0]])).views
    assert math.degrees(math.acos(float((top * bottom).sum()))) == pytest.approx(40.0, abs=1e-3)
    assert cameras.times is None
    moving = read_camera_path(written(tmp_path), size=(10, 10), moves=True).cameras
    assert moving.times is not None
    assert moving.times.tolist() == [0.0, 1.0]


def test_a_transforms_file_whose_pictures_do_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "transforms_test.json"
    frames = [{"file_path": "test/0001", "transform_matrix": matrix, "time": 0.25} for matrix in MATRICES]
    path.write_text(json.dumps({"camera_angle_x": 0.8, "w": 30, "h": 20, "frames": frames}))
    cameras = read_camera_path(path, size=(10, 10), moves=True).cameras
    assert (cameras.width, cameras.height) == (30, 20)
    assert float(cameras.focal[0, 0]) == pytest.approx(15 / math.tan(0.4))
    torch.testing.assert_close(cameras.poses, POSES)
    assert cameras.times is not None
    assert cameras.times.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"camera_path": []}, "must hold a JSON object with cameras under 'camera_path' or 'frames'"),
        ({"camera_type": "fisheye"}, "has the camera type fisheye; export a perspective path"),
        ({"camera_path": [{"fov": 40}]}, "'camera_to_world' is missing"),
        ({"camera_path": [{"camera_to_world": [1, 2], "fov": 40}]}, "no camera path that can be drawn"),
        ({"camera_path": [{"camera_to_world": sum(MATRICES[0], []), "fov": 400}]}, "focal length that is not a pos"),
        ({"render_width": 1}, "must have 2 to 16384 pixels a side, got 1x32"),
    ],
)
def test_what_is_no_path(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SceneError, match=sentence) as caught:
        read_camera_path(written(tmp_path, **changes), size=(10, 10))
    assert "path.json" in str(caught.value)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="none.json is missing; check the name"):
        read_camera_path(tmp_path / "none.json", size=(10, 10))
    (tmp_path / "text.json").write_text("[")
    with pytest.raises(SceneError, match=r"text.json is not valid JSON"):
        read_camera_path(tmp_path / "text.json", size=(10, 10))
