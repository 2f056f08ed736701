"""Every format gives the scene that was written into it, and every malformed file one clear sentence."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nerf.cameras import Cameras
from nerf.ndc import NDC
from nerf.scenes import Scene, SceneError, empty_ray_fraction, load_scene, shipped_scenes

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def assert_same_rays(cameras: Cameras, wanted: Cameras) -> None:
    assert len(cameras) == len(wanted)
    for index in range(len(wanted)):
        got, expected = cameras.picture_rays(index), wanted.picture_rays(index)
        assert torch.allclose(got.origins, expected.origins, atol=1e-6)
        assert torch.allclose(got.directions, expected.directions, atol=1e-6)
        assert torch.allclose(got.views, expected.views, atol=1e-6)


def test_blender(blender: Path, sample: Any) -> None:
    scene = load_scene(blender)
    order = [*scene.splits["train"], *scene.splits["val"], *scene.splits["test"]]
    assert [len(scene.splits[name]) for name in ("train", "val", "test")] == [6, 2, 2]
    assert_same_rays(scene.cameras[order], sample.cameras)
    assert torch.equal(scene.pictures[order], torch.from_numpy(sample.pictures))
    assert scene.has_alpha
    assert scene.split("train").names == tuple(f"train/r_{index}.png" for index in range(6))
    assert scene.split("test").splits == {"train": [], "val": [], "test": [0, 1]}


def test_nerfstudio(nerfstudio: Path, sample: Any) -> None:
    scene = load_scene(nerfstudio)
    assert_same_rays(scene.cameras, sample.cameras)
    assert scene.splits == {"train": [1, 2, 3, 4, 5, 6, 7, 9], "val": [], "test": [0, 8]}
    assert torch.equal(scene.pictures[..., :3], torch.from_numpy(sample.pictures[..., :3]))
    assert (scene.pictures[..., 3] == 255).all()
    assert not scene.has_alpha


def test_nerfstudio_frames_override_the_file(nerfstudio: Path, sample: Any, edit: Edit) -> None:
    def change(content: dict[str, Any]) -> None:
        content["k1"] = -0.1
        content["frames"][3] |= {"fl_x": 20.0, "fl_y": 21.0, "cx": 5.0, "cy": 4.0, "k1": 0.05, "p2": 1e-3, "k4": 1e-3}
        content |= {f"{name}_filenames": [f"images/0{i}.png" for i in which] for name, which in
                    {"train": [0, 1, 2, 3], "val": [4], "test": [9, 8]}.items()}  # fmt: skip

    edit(nerfstudio / "transforms.json", change)
    scene = load_scene(nerfstudio)
    assert scene.splits == {"train": [0, 1, 2, 3], "val": [4], "test": [9, 8]}
    base = sample.cameras
    focal, center, lens = base.focal.clone(), base.center.clone(), torch.zeros(10, 6)
    lens[:, 0] = -0.1
    focal[3], center[3] = torch.tensor([20.0, 21.0]), torch.tensor([5.0, 4.0])
    lens[3] = torch.tensor([0.05, 0, 0, 1e-3, 0, 1e-3])
    assert_same_rays(scene.cameras, Cameras(base.poses, focal, center, base.width, base.height, lens))


def test_nerfstudio_boxes(nerfstudio: Path, edit: Edit) -> None:
    """instant-ngp's unit box at scale 0.33 is the world's ±1.515; sparse points go before it."""
    edit(nerfstudio / "transforms.json", lambda content: content.update(aabb_scale=0.5))
    assert load_scene(nerfstudio).bounds.tolist() == [
        pytest.approx([-0.25 / 0.33] * 3),
        pytest.approx([0.25 / 0.33] * 3),
    ]
    edit(nerfstudio / "transforms.json", lambda content: content.update(scale=0.5, offset=[0.5, 0.25, 0.75]))
    assert load_scene(nerfstudio).bounds[0].tolist() == pytest.approx([-0.5, 0.0, -1.0])
    np.save(nerfstudio / "points3d.npy", np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 3)))
    assert load_scene(nerfstudio).bounds[1].tolist() == pytest.approx([0.59] * 3, abs=0.02)


def test_plain_folder(plain: Path, sample: Any) -> None:
    scene = load_scene(plain)
    assert_same_rays(scene.cameras, sample.cameras)
    assert torch.equal(scene.pictures, torch.from_numpy(sample.pictures))
    assert scene.splits["test"] == [0, 8]


def test_masks_become_alpha(nerfstudio: Path, sample: Any) -> None:
    (nerfstudio / "masks").mkdir()
    for index in range(10):
        Image.fromarray(sample.pictures[index, ..., 3]).save(nerfstudio / "masks" / f"{index:02d}.png")
    scene = load_scene(nerfstudio)
    assert torch.equal(scene.pictures, torch.from_numpy(sample.pictures))
    assert_same_rays(scene.cameras, sample.cameras)
    (nerfstudio / "masks" / "04.png").unlink()
    with pytest.raises(SceneError, match=r"masks has no mask for 04.png; add 04.png"):
        load_scene(nerfstudio)


def test_llff_in_the_world(llff: Path, sample: Any) -> None:
    scene = load_scene(llff, ndc=False)
    assert_same_rays(scene.cameras, sample.cameras)
    assert (scene.near, scene.far) == pytest.approx((1.2, 9.0))
    assert scene.splits["test"] == [0, 8]
    assert empty_ray_fraction(scene) == 0


def test_llff_in_ndc(llff: Path, sample: Any) -> None:
    """With the mean pose at the identity and depths from 4/3 on, the near plane is at 1; the poses stay."""
    scene = load_scene(llff)
    base = sample.cameras
    ndc = NDC.of(torch.eye(3, 4), 1.0, torch.tensor([28 / 12, 28 / 9]))
    assert_same_rays(scene.cameras, dataclasses.replace(base, ndc=ndc))
    torch.testing.assert_close(scene.cameras.poses, base.poses)
    assert (scene.near, scene.far) == (0.0, 1.0)
    rays = scene.cameras.picture_rays(3)
    assert torch.allclose(rays.origins[:, 2], torch.tensor(-1.0))
    assert torch.allclose((rays.origins + rays.directions)[:, 2], torch.tensor(1.0))
    assert scene.bounds[:, 2].tolist() == [-1, 1]
    assert (scene.bounds[1, :2] > 1).all()
    assert empty_ray_fraction(scene) == 0


def test_llff_in_ndc_does_not_depend_on_the_frame_it_was_written_in(llff: Path) -> None:
    """Turning, moving and scaling the world changes nothing."""
    before = load_scene(llff).cameras
    rows = np.load(llff / "poses_bounds.npy")
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    matrices = rows[:, :15].reshape(-1, 3, 5)
    matrices[:, :, :3] = turn @ matrices[:, :, :3]
    matrices[:, :, 3] = 7 * matrices[:, :, 3] @ turn.T + [1.0, 2.0, 3.0]
    np.save(llff / "poses_bounds.npy", np.concatenate([matrices.reshape(-1, 15), 7 * rows[:, 15:]], axis=1))
    after = load_scene(llff).cameras
    for index in range(10):
        got, wanted = after.picture_rays(index), before.picture_rays(index)
        assert torch.allclose(got.origins, wanted.origins, atol=1e-5)
        assert torch.allclose(got.directions, wanted.directions, atol=1e-5)


def test_llff_around_a_subject_stays_in_the_world(llff: Path) -> None:
    rows = np.load(llff / "poses_bounds.npy")
    matrices = rows[:, :15].reshape(-1, 3, 5)
    matrices[5:, :, :3] = np.diag([-1.0, 1.0, -1.0]) @ matrices[5:, :, :3]
    np.save(llff / "poses_bounds.npy", np.concatenate([matrices.reshape(-1, 15), rows[:, 15:]], axis=1))
    assert load_scene(llff).cameras.ndc is None
    with pytest.raises(SceneError, match="load it without NDC"):
        load_scene(llff, ndc=True)


def test_llff_takes_the_smaller_copies(llff: Path) -> None:
    (llff / "images_3").mkdir()
    for path in (llff / "images").iterdir():
        Image.open(path).resize((4, 3)).save(llff / "images_3" / path.name)
    scene = load_scene(llff, downscale=3)
    assert scene.names[0].startswith("images_3")
    assert scene.pictures.shape[1:3] == (3, 4)
    assert scene.cameras.focal[0].tolist() == pytest.approx([14 / 3] * 2)
    full = load_scene(llff)
    corner = torch.zeros(1, 2)
    zero = torch.zeros(1, dtype=torch.long)
    assert torch.allclose(scene.cameras.rays(zero, corner).views, full.cameras.rays(zero, corner).views, atol=1e-6)


def test_downscaling_averages_what_is_visible(blender: Path, sample: Any) -> None:
    scene, small = load_scene(blender), load_scene(blender, downscale=3)
    assert small.pictures.shape == (10, 3, 4, 4)
    values = scene.pictures.double() / 255
    solid = torch.cat([values[..., :3] * values[..., 3:], values[..., 3:]], dim=-1)
    mean = solid.reshape(10, 3, 3, 4, 3, 4).mean(dim=(2, 4))
    got = small.pictures.double() / 255
    assert torch.allclose(got[..., 3], mean[..., 3], atol=0.5 / 255 + 1e-6)
    assert torch.allclose(got[..., :3] * mean[..., 3:], mean[..., :3], atol=0.5 / 255 + 1e-6)
    assert small.cameras.focal[0, 0].item() == pytest.approx(14 / 3)


def test_colors_lie_on_their_background(blender: Path, sample: Any) -> None:
    scene = load_scene(blender).split("train")
    camera = torch.tensor([2, 5, 0])
    pixels = torch.tensor([[0.5, 0.5], [11.99, 8.01], [3.2, 7.9]])
    background = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.2, 0.3, 0.4]])
    rows = sample.pictures[[2, 5, 0], [0, 8, 7], [0, 11, 3]].astype(np.float64) / 255
    wanted = rows[:, :3] * rows[:, 3:] + background.numpy() * (1 - rows[:, 3:])
    assert scene.colors(camera, pixels, background).numpy() == pytest.approx(wanted, abs=1e-6)
    assert torch.equal(scene.colors(camera, pixels.long(), background), scene.colors(camera, pixels, background))
    row = scene.colors(torch.zeros(12, dtype=torch.long), torch.stack([torch.arange(12), torch.full((12,), 4)], -1),
                       torch.ones(3))  # fmt: skip
    assert torch.equal(row, scene.picture(0)[4])


def test_splits_must_exist(nerfstudio: Path) -> None:
    scene = load_scene(nerfstudio)
    with pytest.raises(ValueError, match="no pictures in the split 'val'"):
        scene.split("val")
    with pytest.raises(ValueError, match="split must be one of train, val, test"):
        scene.split("training")


def test_bounds_that_miss_are_told(blender: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_scene(blender)
        assert not caplog.messages
        scene = load_scene(blender, bounds=[[5, 5, 5], [6, 6, 6]])
    assert empty_ray_fraction(scene) == 1
    assert "100 % of the training rays" in caplog.messages[0]
    assert "set bounds" in caplog.messages[0]


def test_near_and_far_may_be_set(blender: Path) -> None:
    scene = load_scene(blender, bounds=[[-1, -1, -1], [1, 1, 1]])
    distance = scene.cameras.positions
    assert 1 < scene.near < 2.01
    assert scene.far == pytest.approx(max(math.dist(p, [-math.copysign(1, v) for v in p]) for p in distance.tolist()))
    scene = load_scene(blender, near=0.5, far=7)
    assert (scene.near, scene.far) == (0.5, 7)


def test_shipped_scenes_load_by_id() -> None:
    folders = shipped_scenes()
    assert set(folders) == {"clockwork", "lighthouse", "robot", "still-life"}
    files = [path for path in next(iter(folders.values())).parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3e6
    assert "CC0" in (next(iter(folders.values())).parent / "LICENSE").read_text(encoding="utf-8")
    for name, folder in folders.items():
        scene = load_scene(name)
        assert isinstance(scene, Scene)
        count = 32 if name == "clockwork" else 24
        assert (scene.name, tuple(scene.pictures.shape)) == (name, (count + 12, 100, 100, 4))
        assert [len(scene.splits[split]) for split in ("train", "val", "test")] == [count, 4, 8]
        assert (scene.cameras.times is not None) == (name == "clockwork")
        assert scene.has_alpha
        assert (folder / "transforms_val.json").is_file()


def frames(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """A change of the second frame."""
    return lambda content: change(content["frames"][1])


def matrix(value: Any) -> Callable[[dict[str, Any]], None]:
    return frames(lambda frame: frame.update(transform_matrix=value))


def entry(row: int, column: int, value: float) -> Callable[[dict[str, Any]], None]:
    return frames(lambda frame: frame["transform_matrix"][row].__setitem__(column, value))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.clear(), "transforms.json has no frames"),
        (lambda c: c.update(frames=[3]), "transforms.json has no frames"),
        (matrix([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), r"transform_matrix of images/01.png must be 4 rows of 4 numbers"),
        (matrix("identity"), r"transform_matrix of images/01.png must be 4 rows of 4 numbers"),
        (matrix(np.zeros((4, 4)).tolist()), "picture 01.png has a singular pose"),
        (matrix((np.eye(4) * 1.1).tolist()), "picture 01.png has a pose whose rotation is not orthonormal"),
        (entry(0, 3, math.nan), "picture 01.png has a pose with numbers that are not finite"),
        (frames(lambda f: f.update(fl_x=math.nan)), "picture 01.png has a focal length that is not a positive number"),
        (lambda c: c.update(fl_x="long"), "fl_x must be a number, got 'long'"),
        (lambda c: (c.pop("fl_x"), c.pop("fl_y")), "has no focal length; add fl_x"),
        (frames(lambda f: f.pop("file_path")), "has a frame without file_path"),
        (frames(lambda f: f.update(file_path="images/no.png")), "the picture .*no.png that transforms.json lists"),
        (lambda c: c.update(camera_model="OPENCV_FISHEYE"), "has the camera model OPENCV_FISHEYE; undistort"),
        (lambda c: c.update(w=13), "says 13x9 pixels but .*00.png has 12x9; make them agree"),
        (lambda c: c.update(train_filenames=["images/77.png"]), "train_filenames has images/77.png, which no frame"),
        (lambda c: c.update(frames=c["frames"][:1]), "has 1 training picture; a radiance field needs at least two"),
    ],
)
def test_malformed_transforms(nerfstudio: Path, edit: Edit, change: Any, sentence: str) -> None:
    edit(nerfstudio / "transforms.json", change)
    with pytest.raises(SceneError, match=sentence) as caught:
        load_scene(nerfstudio)
    assert "transforms.json" in str(caught.value) or "training picture" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_malformed_json(blender: Path) -> None:
    (blender / "transforms_train.json").write_text('{"frames": [', encoding="utf-8")
    with pytest.raises(SceneError, match=r"transforms_train.json is not valid JSON"):
        load_scene(blender)
    (blender / "transforms_train.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(SceneError, match=r"transforms_train.json must hold a JSON object"):
        load_scene(blender)


def test_malformed_pictures(blender: Path, sample: Any) -> None:
    sample.save(blender, 2, "train/r_2.png", alpha=False)
    with pytest.raises(SceneError, match=r"r_2.png has none; give all of them alpha"):
        load_scene(blender)
    (blender / "train" / "r_2.png").write_bytes(b"no picture")
    with pytest.raises(SceneError, match=r"r_2.png is not a picture that can be read"):
        load_scene(blender)
    sample.save(blender, 2, "train/r_2.png")
    whole = (blender / "train" / "r_2.png").read_bytes()
    (blender / "train" / "r_2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"r_2.png is damaged"):
        load_scene(blender)
    (blender / "train" / "r_2.png").unlink()
    with pytest.raises(SceneError, match=r"r_2.png that transforms_train.json lists is missing"):
        load_scene(blender)


def test_a_plain_folder_needs_alpha(plain: Path, sample: Any) -> None:
    for index in range(10):
        sample.save(plain, index, f"images/{index:02d}.png", alpha=False)
    with pytest.raises(SceneError, match=r"00.png has no alpha and there is no folder .*masks; add either"):
        load_scene(plain)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"poses": np.zeros((10, 3, 3)), "focal": 1.0}, r"poses of 10 pictures must be \[10, 3, 4\]"),
        ({"poses": np.zeros((9, 3, 4)), "focal": 1.0}, r"poses of 10 pictures must be \[10, 3, 4\]"),
        ({"poses": np.zeros((10, 3, 4)), "focal": 1.0}, "picture 00.png has a singular pose"),
        ({"poses": np.zeros((10, 3, 4)), "focal": np.ones(3)}, "focal must be one number"),
        ({"poses": np.zeros((10, 3, 4))}, "must hold arrays 'poses' and 'focal'"),
    ],
)
def test_malformed_arrays(plain: Path, arrays: dict[str, Any], sentence: str) -> None:
    np.savez(plain / "cameras.npz", **arrays)
    with pytest.raises(SceneError, match=rf"cameras.npz.*{sentence}"):
        load_scene(plain)
    for content in (b"not an archive", b"", b"PK\x03\x04 half of one", _array(np.zeros(3))):
        (plain / "cameras.npz").write_bytes(content)
        with pytest.raises(SceneError, match=r"cameras.npz is not a NumPy archive"):
            load_scene(plain)


def _array(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_malformed_llff(llff: Path) -> None:
    rows = np.load(llff / "poses_bounds.npy")

    def refused(changed: np.ndarray, sentence: str) -> None:
        np.save(llff / "poses_bounds.npy", changed)
        with pytest.raises(SceneError, match=sentence):
            load_scene(llff)

    refused(rows[:, :15], r"must have the shape \[n, 17\], got \[10, 15\]")
    refused(rows[:9], "has 9 poses but .*images has 10 pictures; pair them")
    swapped = rows.copy()
    swapped[2, 15:] = [3.0, 2.0]
    refused(swapped, "depths that are not 0 < near < far")
    skewed = rows.copy()
    skewed[4, 1] += 0.2
    refused(skewed, "picture 04.png has a pose whose rotation is not orthonormal")
    for content in (b"no array", b"", b"PK\x03\x04 half of an archive"):
        (llff / "poses_bounds.npy").write_bytes(content)
        with pytest.raises(SceneError, match=r"poses_bounds.npy is not a NumPy array"):
            load_scene(llff)
    (llff / "poses_bounds.npy").write_bytes(_array(np.array(["a", "b"])))
    with pytest.raises(SceneError, match=r"poses_bounds.npy is not an array of numbers; run the structure from motion"):
        load_scene(llff)


def test_a_folder_without_cameras_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"transforms_train.json .*transforms.json .*poses_bounds.npy .*cameras.npz"):
        load_scene(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder nowhere.*lighthouse, robot, still-life"):
        load_scene("nowhere")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"format": "bundler"},
            "format must be auto or one of blender, nerfstudio, folder, colmap, llff, got 'bundler'",
        ),
        ({"downscale": 0}, "downscale must be at least 1, got 0"),
        ({"ndc": True}, "ndc needs the near depths of an LLFF capture, got a blender scene"),
        ({"bounds": [[1, 1, 1], [0, 0, 0]]}, "bounds must be a lower and an upper corner"),
        ({"bounds": [0, 1]}, "bounds must be a lower and an upper corner"),
        ({"near": 3.0, "far": 2.0}, "near and far must be 0 <= near < far, got 3 and 2"),
    ],
)
def test_impossible_options(blender: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_scene(blender, **options)


def test_shipped_files_are_plain(tmp_path: Path) -> None:
    """Straight from the NeRF-synthetic format: a camera angle and frames with 4x4 matrices."""
    for folder in shipped_scenes().values():
        content = json.loads((folder / "transforms_test.json").read_text(encoding="utf-8"))
        assert set(content) == {"camera_angle_x", "frames"}
        assert np.array(content["frames"][0]["transform_matrix"]).shape == (4, 4)
