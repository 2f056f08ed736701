"""Folders of scenes: Blender's, nerfstudio's and LLFF's, plain ones, and COLMAP's."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .pictures import picture
from .values import damage, vary, write_json


def scene(rng: random.Random, folder: Path, stem: str) -> Path:
    """Write a scene of five small pictures."""
    path = folder / stem
    (path / "images").mkdir(parents=True)
    rng.choice((_blender, _nerfstudio, _nerfstudio, _llff, _plain, _colmap))(rng, path)
    return path


def camera(rng: random.Random, path: Path) -> Path:
    """Write a camera path of nerfstudio's viewer, or a transforms file, for drawing."""
    if rng.random() < 0.5:
        names = [f"{i}.png" for i in range(2)]
        return write_json(rng, path.with_suffix(".json"), {"fl_x": 10.0, "w": 8, "h": 8, "frames": _frames(names)})
    keys = [{"camera_to_world": [x for row in pose for x in row], "fov": 50, "aspect": 1} for pose in _poses(2)]
    content = {
        "camera_type": "perspective", "render_height": 8, "render_width": 8, "camera_path": keys, "fps": 4,
        "seconds": 1, "is_cycle": False, "smoothness_value": 0,
    }  # fmt: skip
    return write_json(rng, path.with_suffix(".json"), content)


def _poses(count: int) -> list[list[list[float]]]:
    """Cameras on a circle that look at the origin."""
    made = []
    for number in range(count):
        angle = 2 * math.pi * number / count
        c, s = math.cos(angle), math.sin(angle)
        made.append([[-s, 0, c, 3 * c], [c, 0, s, 3 * s], [0, 1, 0, 0.2 * number], [0, 0, 0, 1]])
    return made


def _frames(names: list[str]) -> list[dict[str, Any]]:
    return [{"file_path": name, "transform_matrix": pose} for name, pose in zip(names, _poses(len(names)), strict=True)]


def _pictures(rng: random.Random, path: Path, count: int = 5) -> list[str]:
    """Names of the pictures: whole ones of one size, with one in four scenes an exception."""
    odd = rng.randrange(4 * count)
    files = [picture(rng, path / "images", f"r_{i}", side=16, plain=i != odd) for i in range(count)]
    return [f"images/{file.name}" for file in files]


def _blender(rng: random.Random, path: Path) -> None:
    names = _pictures(rng, path)
    for split, chosen in (("train", names[:3]), ("val", names[3:4]), ("test", names[4:])):
        content: dict[str, Any] = {"camera_angle_x": 0.8, "frames": _frames([n.removesuffix(".png") for n in chosen])}
        if rng.random() < 0.2:
            content |= {"near": 1.0, "far": 6.0}
        if rng.random() < 0.9:
            write_json(rng, path / f"transforms_{split}.json", content, 0.2)


def _nerfstudio(rng: random.Random, path: Path) -> None:
    names = _pictures(rng, path)
    content: dict[str, Any] = {
        "camera_model": rng.choice(("OPENCV", "OPENCV", "OPENCV_FISHEYE", "EQUIRECTANGULAR")),
        "fl_x": 20.0, "fl_y": 20.0, "cx": 8.0, "cy": 8.0, "w": 16, "h": 16, "frames": _frames(names),
    }  # fmt: skip
    for name, value in (
        ("k1", rng.choice((0.01, 1e6))), ("aabb_scale", rng.choice((1, 16, 0, 1e9))), ("scale", rng.choice((1, 0))),
        ("offset", [0.5, 0.5, 0.5]), ("ply_file_path", "points.ply"), ("train_filenames", names[:4]),
        ("test_filenames", names[4:]), ("applied_transform", _poses(1)[0][:3]),
    ):  # fmt: skip
        if rng.random() < 0.25:
            content[name] = value
    (path / "points.ply").write_bytes(_cloud(rng))
    damage(rng, path / "points.ply")
    if rng.random() < 0.3:
        (path / "masks").mkdir()
        for frame, name in zip(content["frames"], names, strict=True):
            mask = picture(rng, path / "masks", Path(name).stem, side=16, plain=rng.random() < 0.8)
            frame["mask_path"] = f"masks/{mask.name}"
    if rng.random() < 0.1:
        content["frames"][0]["file_path"] = rng.choice(("../../../etc/hostname", "/etc/hostname", "", "images", "\0"))
    write_json(rng, path / "transforms.json", content)


def _cloud(rng: random.Random) -> bytes:
    points = np.random.default_rng(rng.randrange(2**31)).normal(size=(20, 3)).astype("<f4")
    form = rng.choice(("binary_little_endian", "ascii"))
    header = f"ply\nformat {form} 1.0\nelement vertex {rng.choice((20, 20, 20, 10**9, 0, -1))}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    body = points.tobytes() if form != "ascii" else "\n".join(" ".join(map(str, row)) for row in points).encode()
    return header.encode() + body


def _llff(rng: random.Random, path: Path) -> None:
    _pictures(rng, path)
    rows = []
    for number in range(rng.choice((5, 5, 5, 4))):
        pose = np.array([[1, 0, 0, 0.1 * number], [0, 1, 0, 0.05 * number * number], [0, 0, 1, 0]], dtype=float)
        turned = np.stack([-pose[:, 1], pose[:, 0], pose[:, 2], pose[:, 3]], 1)
        rows.append(np.concatenate([np.c_[turned, [16, 16, 20]].ravel(), [1.0, 6.0]]))
    array = np.array(rows)
    if rng.random() < 0.3:
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 0, -1, 1e30))
    np.save(
        path / "poses_bounds.npy", rng.choice((array, array, array, array[:, :15], array.ravel(), array.astype("f2")))
    )
    damage(rng, path / "poses_bounds.npy")


def _plain(rng: random.Random, path: Path) -> None:
    _pictures(rng, path)
    if rng.random() < 0.6:
        (path / "masks").mkdir()
        for i in range(5):
            picture(rng, path / "masks", f"r_{i}", side=16, plain=rng.random() < 0.9)
    arrays: dict[str, Any] = {"poses": np.array(_poses(5)), "focal": rng.choice((20.0, np.full(5, 20.0), np.nan, "a"))}
    if rng.random() < 0.2:
        arrays = vary(rng, {name: np.asarray(array).tolist() for name, array in arrays.items()}, 1.0)
    np.savez(path / "cameras.npz", **{name: np.asarray(array, dtype=_kind(array)) for name, array in arrays.items()})
    damage(rng, path / "cameras.npz")


def _kind(value: Any) -> type | None:
    """Arrays of unequal rows are arrays of objects."""
    try:
        np.asarray(value)
    except ValueError:
        return object
    return None


def _colmap(rng: random.Random, path: Path) -> None:
    names = [Path(name).name for name in _pictures(rng, path)]
    folder = path / rng.choice(("sparse/0", "sparse", "colmap/sparse/0"))
    folder.mkdir(parents=True)
    if rng.random() < 0.5:
        lines = [f"{i + 1} 1 0 0 0 0 0 {i} 1 {name}\n" for i, name in enumerate(names)]
        (folder / "images.txt").write_text("\n".join(lines))
        (folder / "cameras.txt").write_text("1 SIMPLE_PINHOLE 16 16 20 8 8\n")
        (folder / "points3D.txt").write_text("1 0 0 0 255 255 255 0.1\n")
    else:
        images = [struct.pack("<I7dI", i + 1, 1, 0, 0, 0, 0, 0, i, 1) + name.encode() + b"\0" + struct.pack("<Q", 0)
                  for i, name in enumerate(names)]  # fmt: skip
        (folder / "images.bin").write_bytes(struct.pack("<Q", len(names)) + b"".join(images))
        (folder / "cameras.bin").write_bytes(struct.pack("<QIiQQ3d", 1, 1, 0, 16, 16, 20, 8, 8))
        (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    for file in folder.iterdir():
        damage(rng, file)


def listing(rng: random.Random, path: Path, pictures: list[str], sounds: list[str]) -> None:
    """Write pairs.jsonl, or lists of other kinds."""
    row = {
        "concept": "dog", "images": [{"file": name, "split": "train"} for name in pictures],
        "audio": [{"file": name} for name in sounds],
    }  # fmt: skip
    lines = [json.dumps(vary(rng, row, 0.4)) for _ in range(rng.choice((1, 3)))]
    name = rng.choice(("pairs.jsonl", "pairs.jsonl", "pairs.csv"))
    (path / name).write_text(
        rng.choice(("\n", "\n", "\n\n", "\r\n", ",")).join(lines),
        encoding=rng.choice(("utf-8",) * 5 + ("utf-8-sig", "utf-16")),
    )
    damage(rng, path / name)
