"""PLY files as an independent writer makes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from nerf.scenes.points import cloud_bounds, read_ply_points
from nerf.scenes.scene import SceneError

POINTS = [(0.5, -1.25, 2.0), (3.0, 4.0, -5.5), (0.0, 0.0, 0.125)]
HEAD = """ply
format {0} 1.0
comment made here
element vertex 3
property float x
property uchar red
property double y
property float z
element face 0
property list uchar int vertex_indices
end_header
"""


@pytest.mark.parametrize(("layout", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_binary(tmp_path: Path, layout: str, order: str) -> None:
    body = b"".join(struct.pack(order + "fBdf", x, 7, y, z) for x, y, z in POINTS)
    (tmp_path / "a.ply").write_bytes(HEAD.format(layout).encode() + body)
    assert read_ply_points(tmp_path / "a.ply").tolist() == [list(point) for point in POINTS]
    (tmp_path / "a.ply").write_bytes(HEAD.format(layout).encode() + body[:-9])
    with pytest.raises(SceneError, match=r"a.ply ends before its 3 vertices do"):
        read_ply_points(tmp_path / "a.ply")


def test_text(tmp_path: Path) -> None:
    body = "".join(f"{x} 7 {y} {z}\n" for x, y, z in POINTS)
    (tmp_path / "a.ply").write_text(HEAD.format("ascii") + body, encoding="ascii", newline="\n")
    assert read_ply_points(tmp_path / "a.ply").tolist() == [list(point) for point in POINTS]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello", "is not a PLY file"),
        ("ply\nformat ascii 1.0\nelement face 1\nend_header\n1\n", "must list its vertices first"),
        (
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
            "needs vertices with x, y and z",
        ),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float\nend_header\n1\n", "has a damaged header"),
        ("ply\nformat ascii 1.0\nelement vertex abc\nproperty float x\nend_header\n1\n", "has a damaged header"),
    ],
)
def test_malformed(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.ply").write_text(text, encoding="ascii", newline="\n")
    with pytest.raises(SceneError, match=sentence):
        read_ply_points(tmp_path / "a.ply")


def test_strays_do_not_widen_the_box(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform([-1, 0, 2], [1, 4, 3], (2000, 3))
    points[:5] = 1e4
    points[5] = np.nan
    np.save(tmp_path / "points3d.npy", points)
    bounds = cloud_bounds(tmp_path, {})
    assert bounds is not None
    assert bounds.tolist() == [
        pytest.approx([-1.18, -0.36, 1.91], abs=0.05),
        pytest.approx([1.18, 4.36, 3.09], abs=0.05),
    ]
    assert cloud_bounds(tmp_path / "images", {}) is None
    np.save(tmp_path / "points3d.npy", points[:, 0])
    with pytest.raises(SceneError, match=r"points3d.npy must have the shape \[n, 3\], got \[2000\]"):
        cloud_bounds(tmp_path, {})
