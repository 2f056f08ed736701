"""Meshes as scenes; skipped where the extra "meshes" is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from nerf.cameras import Cameras, look_at
from nerf.scenes import SceneError, load_scene, make_scene
from nerf.scenes.synthetic.meshes import RADIUS, Mesh

CUBE = """ply
format ascii 1.0
element vertex 8
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 12
property list uchar int vertex_indices
end_header
"""


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """A cube of side 10 around (5, 5, 5): red below, green on top."""
    corners = [(x, y, z) for z in (0, 10) for y in (0, 10) for x in (0, 10)]
    rows = [f"{x} {y} {z} {'0 255 0' if z else '255 0 0'}" for x, y, z in corners]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    rows += [f"3 {a} {b} {c}\n3 {a} {c} {d}" for a, b, c, d in quads]
    (tmp_path / "cube.ply").write_text(CUBE + "\n".join(rows) + "\n", encoding="ascii")
    return tmp_path / "cube.ply"


def installed() -> None:
    pytest.importorskip("trimesh")
    pytest.importorskip("rtree")


def test_a_cube_is_hit_where_it_is(cube: Path) -> None:
    installed()
    mesh, half = Mesh(cube), RADIUS / 3**0.5
    origins = torch.tensor([[0.05, 0.02, 3.0], [0.05, -3.0, 0.02], [2.0, 2.0, 3.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    colors, alpha, t = mesh.cast(origins, directions)
    assert alpha.tolist() == [1, 1, 0]
    assert t[:2].tolist() == pytest.approx([3 - half] * 2, abs=1e-4)
    assert colors[0, 1] > 0.6
    assert colors[0, 0] < 0.2
    red, green = colors[1, :2].tolist()  # half way up the side, where both mix
    assert red == pytest.approx(green, rel=0.15)
    assert (colors[2] == 0).all()


def test_a_mesh_becomes_a_scene(cube: Path, tmp_path: Path) -> None:
    installed()
    make_scene(cube, tmp_path / "out", size=24, views=(5, 0, 1))
    scene = load_scene(tmp_path / "out")
    half = RADIUS / 3**0.5
    assert (scene.bounds[0] <= -half + 0.02).all()
    assert (scene.bounds[1] >= half - 0.02).all()
    cameras = Cameras.pinhole(look_at(torch.tensor([[0.0, 0.0, 3.0]]), (0, 0, 0)), width=10, height=10, focal=10.0)
    assert Mesh(cube).picture(cameras, 0)[5, 5, 3] == 1


def test_files_that_are_no_meshes(tmp_path: Path) -> None:
    installed()
    with pytest.raises(SceneError, match=r"there is no mesh .*gone.obj"):
        Mesh(tmp_path / "gone.obj")
    (tmp_path / "points.obj").write_text("v 0 0 0\n", encoding="ascii")
    with pytest.raises(SceneError, match=r"points.obj (has no triangles|is not a mesh)"):
        Mesh(tmp_path / "points.obj")


def test_without_trimesh_the_extra_is_named(cube: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(SceneError, match=r"is a mesh, which needs .*; install mapfield\[meshes\]"):
        Mesh(cube)
