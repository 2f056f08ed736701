"""Masks, splits and boxes of transforms.json mean what nerfstudio and instant-ngp mean by them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.quality import psnr
from nerf.cameras import Cameras, random_orbits
from nerf.evaluation import evaluate_views
from nerf.rendering.renderer import Picture
from nerf.scenes import Scene, SceneError, load_scene
from nerf.scenes.synthetic.gallery import solids

SIDE = 24


@pytest.fixture(scope="module")
def views() -> tuple[Cameras, np.ndarray]:
    """Twelve views of the robot with alpha."""
    generator = torch.Generator().manual_seed(1)
    cameras = random_orbits(12, radius=4.0, elevation=(0, 60), width=SIDE, height=SIDE, focal=30.0, generator=generator)
    robot = solids("robot")
    pictures = torch.stack([robot.picture(cameras, index) for index in range(12)])
    return cameras, (pictures.clamp(0, 1) * 255).round().byte().numpy()


@pytest.fixture
def capture(tmp_path: Path, views: tuple[Cameras, np.ndarray]) -> Callable[..., Path]:
    """A writer of transforms.json with its pictures: ``per_frame(index)`` adds keys, ``top`` too."""

    def write(*, opaque: bool = False, per_frame: Callable[[int], dict[str, Any]] | None = None, **top: Any) -> Path:
        cameras, pictures = views
        (tmp_path / "images").mkdir(exist_ok=True)
        frames = []
        for index in range(12):
            name = f"images/frame_{index:02d}.png"
            Image.fromarray(pictures[index, ..., : 3 if opaque else 4]).save(tmp_path / name)
            matrix = [*cameras.poses[index].tolist(), [0.0, 0.0, 0.0, 1.0]]
            more = {} if per_frame is None else per_frame(index)
            frames.append({"file_path": name, "transform_matrix": matrix, **more})
        content = {"w": SIDE, "h": SIDE, "fl_x": 30.0, "frames": frames, **top}
        (tmp_path / "transforms.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return write


def hole(index: int) -> tuple[slice, slice]:
    return slice(index, index + 8), slice(2, 10)


def write_masks(folder: Path, name: str, *, inside: int, outside: int) -> None:
    for index in range(12):
        mask = np.full((SIDE, SIDE), outside, np.uint8)
        mask[hole(index)] = inside
        path = folder / name.format(f"{index:02d}")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)


@pytest.mark.parametrize("place", ["masks", "ignore"])
def test_black_pixels_of_mask_path_are_left_out_and_splits_are_kept(capture: Callable[..., Path], place: str) -> None:
    names = [f"images/frame_{index:02d}.png" for index in range(12)]
    folder = capture(
        opaque=True, per_frame=lambda index: {"mask_path": f"{place}/{index:02d}.png"},
        train_filenames=names[:9], test_filenames=names[9:],
    )  # fmt: skip
    write_masks(folder, f"{place}/{{}}.png", inside=0, outside=255)
    scene = load_scene(folder)
    assert scene.splits == {"train": list(range(9)), "val": [], "test": [9, 10, 11]}
    assert not scene.has_alpha
    assert (scene.pictures[..., 3] == 255).all()
    assert scene.kept is not None
    for index in range(12):
        expected = torch.ones(SIDE, SIDE, dtype=torch.bool)
        expected[hole(index)] = False
        assert torch.equal(scene.kept[index], expected)
    # Half a pixel of a mask is enough to leave out what is averaged from it.
    small = load_scene(folder, downscale=4)
    assert small.kept is not None
    assert small.kept[1].logical_not().nonzero().tolist() == [[y, x] for y in range(3) for x in range(3)]


def test_pixels_that_are_not_black_in_dynamic_masks_are_left_out(capture: Callable[..., Path]) -> None:
    folder = capture(opaque=True)
    write_masks(folder, "images/dynamic_mask_frame_{}.png", inside=200, outside=0)
    scene = load_scene(folder)
    assert scene.kept is not None
    assert len(scene) == 12
    assert not scene.kept[3][hole(3)].any()
    assert int(scene.kept[3].sum()) == SIDE * SIDE - 64


def test_what_masks_leave_out_changes_neither_the_rays_nor_the_score(capture: Callable[..., Path]) -> None:
    folder = capture(opaque=True, per_frame=lambda index: {"mask_path": f"ignore/{index:02d}.png"})
    write_masks(folder, "ignore/{}.png", inside=0, outside=255)
    scene = load_scene(folder)
    numbers = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    camera, pixels = scene.random_pixels(numbers)
    column, row = (pixels - 0.5).long().unbind(-1)
    assert scene.kept is not None
    assert scene.kept[camera, row, column].all()
    assert torch.bincount(camera).min() > 270  # of 333 on average: every picture is drawn equally often
    seen = torch.zeros_like(scene.kept)
    seen[camera, row, column] = True
    assert seen.sum() > 0.4 * scene.kept.sum()

    def draw(camera: Cameras) -> Picture:
        index = int((scene.cameras.positions - camera.positions[0]).norm(dim=-1).argmin())
        color = scene.picture(index).clone()
        color[~scene.mask(index)] = torch.rand(64, 3)  # nothing like the photo
        color += 0.1 * (color < 0.5)
        return Picture(color, torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE))

    test = scene.split("test")
    expected = []
    for index in range(len(test)):
        truth = test.picture(index)[test.mask(index)]
        expected.append(psnr(truth + 0.1 * (truth < 0.5), truth))
    means = evaluate_views(draw, scene)
    assert means["psnr"] == pytest.approx(float(np.mean(expected)), abs=1e-3)
    assert evaluate_views(lambda camera: _photo(scene, camera), scene)["ssim"] == pytest.approx(1.0, abs=1e-6)


def _photo(scene: Scene, camera: Cameras) -> Picture:
    """The photo itself, with other colours where a mask leaves them out."""
    index = int((scene.cameras.positions - camera.positions[0]).norm(dim=-1).argmin())
    color = scene.picture(index).clone()
    color[~scene.mask(index)] = 0.5
    return Picture(color, torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE))


def test_masks_that_leave_out_everything_or_are_missing(capture: Callable[..., Path]) -> None:
    folder = capture(opaque=True, per_frame=lambda index: {"mask_path": f"ignore/{index:02d}.png"})
    with pytest.raises(SceneError, match=r"there is no mask_path ignore/00.png of frame_00.png"):
        load_scene(folder)
    write_masks(folder, "ignore/{}.png", inside=0, outside=0)
    with pytest.raises(SceneError, match="leave out every pixel of the training pictures"):
        load_scene(folder)


def test_frames_of_no_list_are_for_training(capture: Callable[..., Path]) -> None:
    folder = capture(test_filenames=["images/frame_02.png", "images/frame_05.png"])
    scene = load_scene(folder)
    assert scene.splits["test"] == [2, 5]
    assert scene.splits["train"] == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("scale", [16, 128])
def test_an_object_has_the_bounds_of_its_outlines_whatever_aabb_scale_says(
    capture: Callable[..., Path], scale: float
) -> None:
    without = load_scene(capture()).bounds
    torch.testing.assert_close(load_scene(capture(aabb_scale=scale)).bounds, without)
    low, high = solids("robot").bounds()
    assert (without[0] <= low).all()
    assert (without[1] >= high).all()
    assert (without[1] - without[0]).max() < 1.6 * (high - low).max()


def test_a_box_far_larger_than_what_is_looked_at_is_told(
    capture: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    without = load_scene(capture(opaque=True)).bounds
    with caplog.at_level(logging.WARNING):
        scene = load_scene(capture(opaque=True, aabb_scale=128))
    torch.testing.assert_close(scene.bounds, without)
    assert "aabb_scale" in caplog.messages[0]
    assert "--bounds" in caplog.messages[0]


def test_keys_that_are_not_used_are_told(capture: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_scene(capture(per_frame=lambda index: {"depth_file_path": "d.png"}, ply_file_path="none.ply"))
    assert any("depth_file_path, which is not used" in message for message in caplog.messages)
    assert any("no ply_file_path none.ply" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("top", "sentence"),
    [
        ({"aabb_scale": -1}, "aabb_scale must be a positive number, got -1"),
        ({"aabb_scale": 2, "scale": 0}, "scale must be a positive number, got 0"),
        ({"aabb_scale": 2, "offset": ["a", "b", "c"]}, r"offset must be three numbers, got \['a', 'b', 'c'\]"),
        ({"k1": 1e6}, "the lens distortion of frame_00.png cannot be undone"),
        ({"test_filenames": "images/frame_02.png"}, "test_filenames must be a list of names"),
    ],
)
def test_keys_out_of_range(capture: Callable[..., Path], top: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SceneError, match=sentence):
        load_scene(capture(**top))


@pytest.mark.parametrize(
    ("move", "sentence"),
    [
        (lambda p: p + 1e6, r"stand 1e\+06 units from the origin and .* from each other"),
        (lambda p: p * 1e30, r"units from the origin; scale the scene down"),
        (lambda p: p * 0, "all training cameras of .* stand at one point"),
    ],
)
def test_cameras_that_cannot_be_learned_from(capture: Callable[..., Path], move: Any, sentence: str) -> None:
    folder = capture()
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] = move(row[3])
    (folder / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(SceneError, match=sentence):
        load_scene(folder)


def test_pictures_of_nothing_and_too_small_ones(capture: Callable[..., Path]) -> None:
    folder = capture()
    with pytest.raises(ValueError, match=r"downscale 1000 leaves less than two pixels of a side of .*take at most 12"):
        load_scene(folder, downscale=1000)
    with pytest.raises(ValueError, match="downscale must be at least 1, got nan"):
        load_scene(folder, downscale=float("nan"))
    for path in (folder / "images").iterdir():
        Image.new("RGBA", (SIDE, SIDE)).save(path)
    with pytest.raises(SceneError, match="every training picture of .* is wholly transparent"):
        load_scene(folder)
