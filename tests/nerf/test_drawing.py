"""``render`` and ``export``: which cameras are drawn, and what is refused before anything is drawn."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import trimesh
from PIL import Image

from nerf.drawing import export, render
from nerf.export import point_cloud, without_small_pieces
from nerf.runs import Run, load_run, turntable
from nerf.scenes import Scene


@pytest.fixture(autouse=True)
def nothing_is_read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test says so, reading the run is an error: the refusal must come before."""
    if request.node.get_closest_marker("parametrize"):

        def read(folder: Any) -> Run:
            raise AssertionError("the run was read before its options were checked")

        monkeypatch.setattr("nerf.drawing.load_run", read)


def test_the_views_of_a_split_are_those_of_its_photos(trained: tuple[Run, Path], scene: Scene, tmp_path: Path) -> None:
    render(trained[1], output=tmp_path / "views", split="test", scene=scene.source)
    drawn = sorted((tmp_path / "views").iterdir())
    assert [path.name for path in drawn] == ["000.png", "001.png"]
    test = scene.split("test")
    for index, path in enumerate(drawn):
        expected = trained[0].draw(test.cameras[index]).color
        with Image.open(path) as picture:
            np.testing.assert_allclose(np.asarray(picture), (expected * 255).numpy(), atol=0.51)


def test_a_film_along_a_camera_path(trained: tuple[Run, Path], scene: Scene, tmp_path: Path) -> None:
    (pose,) = scene.cameras.poses[:1].tolist()
    entry = {"camera_to_world": sum([*pose, [0.0, 0.0, 0.0, 1.0]], []), "fov": 45.0}
    content = {"render_width": 32, "render_height": 24, "fps": 10, "camera_path": [entry] * 3}
    (tmp_path / "path.json").write_text(json.dumps(content))
    film = render(trained[1], output=tmp_path / "a.mp4", camera_path=tmp_path / "path.json", size=16)
    with av.open(str(film)) as container:
        assert container.streams.video[0].average_rate == 10
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(12, 16, 3)] * 3
    assert frames[0].std() > 10


def test_nothing_that_exists_is_replaced_unasked(trained: tuple[Run, Path], tmp_path: Path) -> None:
    film, folder, cloud = tmp_path / "a.gif", tmp_path / "views", tmp_path / "p.ply"
    folder.mkdir()
    for path in (film, folder / "mine.png", cloud):
        path.write_text("mine")
    quick = {"views": 2, "size": 16}
    for output in (film, folder):
        with pytest.raises(FileExistsError, match=output.name):
            render(trained[1], output=output, **quick)
    with pytest.raises(FileExistsError, match=r"p.ply exists already"):
        export(trained[1], output=cloud, kind="points", **quick)
    assert {path.read_text() for path in (film, folder / "mine.png", cloud)} == {"mine"}
    render(trained[1], output=film, overwrite=True, **quick)
    with Image.open(film) as picture:
        assert picture.size == (16, 16)
    render(trained[1], output=folder, overwrite=True, **quick)
    assert (folder / "mine.png").read_text() == "mine"
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "a.webm"}, r"must end in .mp4 or .gif for a film, or be a folder for single views, got a.webm"),
        ({"output": "a.png"}, r"must end in .mp4 or .gif"),
        ({"fps": 0}, r"fps must be in 1..100 frames per second, got 0"),
        ({"camera_path": "p.json", "split": "test"}, "camera_path and split both name cameras"),
        ({"split": "test", "radius": 2.0}, "radius is of the turntable and does nothing with split"),
        ({"scene": "robot"}, "scene names the photos of a split"),
    ],
)
def test_render_refuses_before_it_reads(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        render("run", **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "a.splat", "kind": "mesh"}, r"the output of mesh must end in .ply or .glb or .obj, got a.splat"),
        ({"output": "a.stl"}, r"the output must end in .ply or .glb or .obj or .spz or .splat or .html, got a.stl"),
        ({"output": "a.obj", "kind": "points"}, r"the output of points must end in .ply, got a.obj"),
        ({"output": "a.ply", "resolution": 0}, r"resolution must be in 2..768 nodes along each axis, got 0"),
        ({"output": "a.ply", "resolution": 4096}, r"resolution must be in 2..768"),
        ({"output": "a.ply", "threshold": float("nan")}, "threshold must be a positive density, got nan"),
    ],
)
def test_export_refuses_before_it_reads(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        export("run", **options)


def test_sizes_and_numbers_of_views(trained: tuple[Run, Path], tmp_path: Path) -> None:
    for options, sentence in (
        ({"views": 0}, "views must be at least 1, got 0"),
        ({"views": -3}, "views must be at least 1, got -3"),
        ({"size": 1}, "size must be at least 2 pixels, got 1"),
        ({"size": 10**9}, "size must be at most 8192 pixels, got 1000000000"),
        ({"views": 10**9}, "views must be at most 10000, got 1000000000"),
        ({"elevation": 91.0}, r"elevation must be in -90..90 degrees, got 91"),
        ({"radius": 0.0}, "radius must be positive, got 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            render(trained[1], output=tmp_path / "a.mp4", **options)
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        export(trained[1], output=tmp_path / "p.ply", kind="points", views=0)
    assert not list(tmp_path.iterdir())


def test_views_of_nothing_are_told(trained: tuple[Run, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        render(trained[1], output=tmp_path / "views", views=2, size=8, radius=1e5)
    assert "no view shows anything of the field" in caplog.messages[0]
    empty = load_run(trained[1])
    empty.sampler.get_buffer("occupied").fill_(False)
    with pytest.raises(ValueError, match="no ray of the 1 views ends at a surface"):
        point_cloud(empty, turntable(empty, 1, size=8))


def test_loose_pieces_are_dropped() -> None:
    large, small = trimesh.creation.icosphere(subdivisions=2), trimesh.creation.box()
    small.apply_translation([5, 0, 0])
    both = trimesh.util.concatenate([large, small])
    assert len(without_small_pieces(both, 0.01).faces) == len(large.faces) + len(small.faces)
    kept = without_small_pieces(both, 0.1)
    assert len(kept.faces) == len(large.faces)
    assert kept.bounds[1, 0] == pytest.approx(1.0)
