"""Pictures of a transforms file: how they are named, stored and shaped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nerf.scenes import SceneError, load_scene

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def test_portrait_and_landscape_pictures_keep_their_rays_and_pixels(nerfstudio: Path, sample: Any, edit: Edit) -> None:
    """Pictures of two shapes: each has the colours and rays of its own pixels, and nothing else takes part."""
    tall = {1, 3, 8}

    def change(content: dict[str, Any]) -> None:
        for index in tall:
            picture = Image.fromarray(sample.pictures[index, ..., :3]).transpose(Image.Transpose.ROTATE_90)
            picture.save(nerfstudio / f"images/{index:02d}.png")
            content["frames"][index] |= {"w": 9, "h": 12, "cx": 4.5, "cy": 6}

    edit(nerfstudio / "transforms.json", change)
    scene = load_scene(nerfstudio)
    assert scene.kept is not None
    for index in range(10):
        shape = (12, 9) if index in tall else (9, 12)
        picture, camera = scene.picture(index), scene.camera(index)
        assert picture.shape == (*shape, 3)
        assert (camera.height, camera.width) == shape
        stored = torch.from_numpy(sample.pictures[index, ..., :3].copy())
        stored = stored.rot90() if index in tall else stored
        torch.testing.assert_close(picture * 255, stored.float(), atol=1e-3, rtol=0)
        middle = camera.rays(torch.tensor([0]), torch.tensor([[shape[1] / 2, shape[0] / 2]]))
        torch.testing.assert_close(middle.views, sample.cameras.forward[index][None])
        assert int(scene.kept[index].sum()) == 108
        assert scene.mask(index).all()
    camera, pixels = scene.random_pixels(torch.rand(500, 3, generator=torch.Generator().manual_seed(0)))
    sides = torch.tensor(scene.sizes)[camera]
    assert (pixels < sides).all()
    assert scene.split("test").sizes == ((12, 9), (9, 12))
    half = load_scene(nerfstudio, downscale=3)
    assert half.sizes is not None
    assert half.sizes[:2] == ((4, 3), (3, 4))
    small = half.camera(1).rays(torch.tensor([0]), torch.tensor([[0.0, 0.0]]))
    whole = scene.camera(1).rays(torch.tensor([0]), torch.tensor([[0.0, 0.0]]))
    torch.testing.assert_close(small.views, whole.views)


def test_a_size_that_disagrees_names_the_picture_and_its_orientation(nerfstudio: Path, edit: Edit) -> None:
    path = nerfstudio / "images" / "03.jpg"
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (9, 12)).save(path, exif=exif)
    edit(nerfstudio / "transforms.json", lambda content: content["frames"][3].update(file_path="images/03.jpg"))
    with pytest.raises(SceneError, match=r"says 12x9 pixels but .*03.jpg has 9x12, which viewers turn as its EXIF"):
        load_scene(nerfstudio)


def test_json_with_a_byte_order_mark(nerfstudio: Path) -> None:
    path = nerfstudio / "transforms.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_scene(nerfstudio)) == 10


def test_endings_may_be_missing_or_in_the_other_case(nerfstudio: Path, edit: Edit) -> None:
    def change(content: dict[str, Any]) -> None:
        content["frames"][0]["file_path"] = "images/00"
        content["frames"][2]["file_path"] = "images/02"

    edit(nerfstudio / "transforms.json", change)
    for index in (0, 1):
        (nerfstudio / "images" / f"{index:02d}.png").rename(nerfstudio / "images" / f"{index:02d}.PNG")
    assert load_scene(nerfstudio).names[:3] == ("images/00.PNG", "images/01.PNG", "images/02.png")


def test_pictures_of_other_kinds_are_named(nerfstudio: Path, edit: Edit) -> None:
    (nerfstudio / "images" / "04.png").rename(nerfstudio / "images" / "04.exr")
    for name in ("images/04.exr", "images/04"):
        edit(nerfstudio / "transforms.json", lambda content, name=name: content["frames"][4].update(file_path=name))
        with pytest.raises(SceneError, match=r"04.exr is of a kind that is not read; convert it to one of .png"):
            load_scene(nerfstudio)


def test_a_test_split_without_pictures_is_left_out(blender: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The add-on BlenderNeRF writes test cameras whose pictures it never renders."""
    for index in (8, 9):
        (blender / "test" / f"r_{index}.png").unlink()
    with caplog.at_level(logging.WARNING):
        scene = load_scene(blender)
    assert [len(scene.splits[name]) for name in ("train", "val", "test")] == [6, 2, 0]
    assert "the split test is left out" in caplog.messages[0]
    (blender / "val" / "r_6.png").unlink()
    with pytest.raises(SceneError, match=r"r_6.png that transforms_val.json lists is missing"):
        load_scene(blender)


def test_splits_may_have_pictures_of_different_sizes(blender: Path, sample: Any) -> None:
    for index in (6, 7):
        Image.fromarray(sample.pictures[index, :7, :7]).save(blender / "val" / f"r_{index}.png")
    scene = load_scene(blender)
    assert scene.split("val").camera(0).width == 7
    assert scene.split("train").camera(0).width == 12
    assert torch.equal(scene.split("val").pictures[0, :7, :7], torch.from_numpy(sample.pictures[6, :7, :7].copy()))


def test_a_file_in_place_of_its_folder(nerfstudio: Path) -> None:
    with pytest.raises(SceneError, match="transforms.json is a file; give the folder that it is in"):
        load_scene(nerfstudio / "transforms.json")


def test_the_source_is_found_from_any_folder(nerfstudio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nerfstudio.parent)
    assert load_scene(nerfstudio.name).source == str(nerfstudio.resolve())
    assert load_scene("robot").source == "robot"
