"""Models of COLMAP, written by its description of the format, give the cameras that they were made from."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from nerf.cameras import Cameras, orbit
from nerf.scenes import SceneError, load_scene
from nerf.scenes.formats.colmap import UPRIGHT

COUNT, WIDTH, HEIGHT = 9, 24, 18
INTRINSICS = (30.0, 31.0, 12.5, 8.5)
POINTS = np.random.default_rng(0).uniform(-1, 1, (50, 3))


def cameras() -> Cameras:
    return orbit(COUNT, radius=4.0, elevation=25, width=WIDTH, height=HEIGHT, focal=30.0)


def world_to_camera() -> list[tuple[list[float], list[float]]]:
    """Quaternion w, x, y, z and translation of each view, in COLMAP's world."""
    found = []
    for pose in cameras().poses.double().numpy():
        axes = UPRIGHT.T @ pose[:, :3] * np.array([1, -1, -1])
        x, y, z, w = Rotation.from_matrix(axes.T).as_quat()
        found.append(([w, x, y, z], (-axes.T @ UPRIGHT.T @ pose[:, 3]).tolist()))
    return found


def write(
    folder: Path, *, binary: bool, model: tuple[int, str, tuple[float, ...]] = (1, "PINHOLE", INTRINSICS)
) -> Path:
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    number, name, values = model
    views = world_to_camera()
    for index in range(COUNT):
        Image.new("RGB", (WIDTH, HEIGHT), (20 * index, 90, 200)).save(folder / "images" / f"{index}.png")
    points = POINTS @ UPRIGHT
    if binary:
        data = struct.pack("<QiiQQ", 1, 7, number, WIDTH, HEIGHT) + struct.pack(f"<{len(values)}d", *values)
        (sparse / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", COUNT)
        for index, (turn, shift) in reversed(list(enumerate(views))):
            data += struct.pack("<i7di", index + 1, *turn, *shift, 7) + f"{index}.png".encode() + b"\0"
            data += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.0, 2.0, 3, 4.0, 5.0, -1)
        (sparse / "images.bin").write_bytes(data)
        data = struct.pack("<Q", len(points))
        for index, point in enumerate(points):
            data += struct.pack("<Q3d3BdQ", index, *point, 1, 2, 3, 0.5, 1) + struct.pack("<ii", 1, 0)
        (sparse / "points3D.bin").write_bytes(data)
        return folder
    line = f"# a camera\n7 {name} {WIDTH} {HEIGHT} {' '.join(map(str, values))}\n"
    (sparse / "cameras.txt").write_text(line, encoding="utf-8")
    lines = ["# views and their points"]
    for index, (turn, shift) in reversed(list(enumerate(views))):
        lines += [f"{index + 1} {' '.join(map(str, [*turn, *shift]))} 7 {index}.png", "1.0 2.0 3" if index % 2 else ""]
    (sparse / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [f"{index} {' '.join(map(str, point))} 1 2 3 0.5 1 0" for index, point in enumerate(points)]
    (sparse / "points3D.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("binary", [False, True])
def test_a_model_gives_the_cameras_that_it_was_made_from(binary: bool, tmp_path: Path) -> None:
    scene = load_scene(write(tmp_path, binary=binary))
    assert scene.format == "colmap"
    torch.testing.assert_close(scene.cameras.poses, cameras().poses, atol=1e-5, rtol=0)
    assert scene.cameras.focal[0].tolist() == [30.0, 31.0]
    assert scene.cameras.center[0].tolist() == [12.5, 8.5]
    assert scene.names == tuple(f"images/{index}.png" for index in range(COUNT))
    assert scene.splits["test"] == [0, 8]
    assert (scene.bounds[0] < -0.9).all()
    assert (scene.bounds[1] > 0.9).all()
    assert (scene.bounds.abs() < 1.3).all()


def test_lenses_and_masks_are_read(tmp_path: Path) -> None:
    write(tmp_path, binary=True, model=(4, "OPENCV", (*INTRINSICS, 0.1, -0.05, 0.001, 0.002)))
    (tmp_path / "masks").mkdir()
    mask = Image.new("L", (WIDTH, HEIGHT), 255)
    mask.paste(0, (0, 0, 5, 4))
    mask.save(tmp_path / "masks" / "3.png.png")
    scene = load_scene(tmp_path)
    assert scene.cameras.distortion is not None
    torch.testing.assert_close(scene.cameras.distortion[0], torch.tensor([0.1, -0.05, 0.001, 0.002, 0.0, 0.0]))
    assert scene.kept is not None
    assert not scene.kept[3, :4, :5].any()
    assert int((~scene.kept).sum()) == 20


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda sparse: (sparse / "images.bin").write_bytes((sparse / "images.bin").read_bytes()[:-30]), "is damaged"),
        (lambda sparse: (sparse / "images.bin").write_bytes(struct.pack("<Q", 2**60)), "is damaged"),
        (lambda sparse: (sparse / "images.bin").write_bytes(struct.pack("<Q", 0)), "no registered pictures"),
        (lambda sparse: (sparse / "cameras.bin").write_bytes(b""), "is damaged"),
        (lambda sparse: (sparse.parents[1] / "images" / "4.png").unlink(), "4.png that .* lists is missing"),
        (lambda sparse: shutil.copytree(sparse, sparse.parent / "1"), r"has 2 models \(0, 1\)"),
    ],
)
def test_damaged_models_are_one_sentence(damage: object, sentence: str, tmp_path: Path) -> None:
    write(tmp_path, binary=True)
    damage(tmp_path / "sparse" / "0")  # type: ignore[operator]
    with pytest.raises(SceneError, match=sentence):
        load_scene(tmp_path)


def test_fisheye_lenses_and_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "fish", binary=False, model=(5, "OPENCV_FISHEYE", (*INTRINSICS, 0.0, 0.0, 0.0, 0.0)))
    with pytest.raises(SceneError, match="OPENCV_FISHEYE; undistort the pictures"):
        load_scene(tmp_path / "fish")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match=r"sparse/0 \(COLMAP\)"):
        load_scene(tmp_path / "empty")
    with pytest.raises(SceneError, match="has no COLMAP model"):
        load_scene(tmp_path / "empty", format="colmap")
