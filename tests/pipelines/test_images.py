"""Pictures of every kind that users have, and the sentences for those that cannot be read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import images as module
from pipelines.images import load_images, load_masks, square


def png(path: Path, color: tuple[int, ...] = (255, 0, 0), size: tuple[int, int] = (20, 10)) -> Path:
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(path)
    return path


def test_a_folder_leaves_other_files_and_damaged_pictures_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    png(tmp_path / "b.png", (0, 255, 0))
    png(tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    cut = png(tmp_path / "d.png", size=(200, 200)).read_bytes()
    (tmp_path / "d.png").write_bytes(cut[:60])
    with caplog.at_level(logging.WARNING):
        loaded = load_images(tmp_path)
    assert [image.getpixel((0, 0)) for image in loaded] == [(255, 0, 0), (0, 255, 0)]
    assert "c.jpg is not a picture" in caplog.text
    assert "d.png is damaged" in caplog.text


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no pictures in the folder {tmp_path}"):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="no pictures in the given list"):
        load_images([])
    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"none of the pictures.*c\.jpg is not a picture"):
        load_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder or picture"):
        load_images(tmp_path / "none")


def test_exif_rotation(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "r.jpg", exif=exif)
    assert load_images(tmp_path)[0].size == (10, 20)


def test_alpha_becomes_white(tmp_path: Path) -> None:
    png(tmp_path / "a.png", (255, 0, 0, 0))
    assert load_images(tmp_path)[0].getpixel((3, 3)) == (255, 255, 255)


def test_gray_and_sixteen_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("L", (4, 4), 7).save(tmp_path / "gray.png")
    deep, gray = load_images(tmp_path)
    assert deep.getpixel((0, 0)) == (128, 128, 128)
    assert gray.getpixel((0, 0)) == (7, 7, 7)


def test_arrays() -> None:
    half = np.full((4, 6), 0.5)
    shapes = [half, np.full((4, 6, 1), 128, np.uint8), np.full((4, 6, 3), 0x8000, np.uint16)]
    assert {image.getpixel((0, 0)) for image in load_images(shapes)} == {(128, 128, 128)}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 5)), r"shape .* got \[2, 2, 5\]"),
        (np.full((2, 2), np.nan), "finite and in"),
        (np.full((2, 2), 3.0), "finite and in"),
        (np.zeros((2, 2), np.int64), "got int64"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images([array])


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(ValueError, match="20x10 pixels, more than 100; make it smaller"):
        load_images(png(tmp_path / "a.png"))


def test_square_keeps_proportions() -> None:
    wide = Image.new("RGB", (40, 20), "white")
    wide.paste("black", (0, 0, 10, 20))
    cropped = square(wide, 20)
    assert cropped.size == (20, 20)
    assert np.asarray(cropped).min() == 255


def test_masks_from_transparency_and_from_files(tmp_path: Path) -> None:
    pixels = np.full((8, 12, 4), 200, np.uint8)
    pixels[:, 5:, 3] = 0
    cut = Image.fromarray(pixels)
    gray = cut.getchannel("A")
    for i in range(2):
        gray.save(tmp_path / f"{i}.png")
    for masks in ("alpha", tmp_path):
        found = load_masks(masks, [cut, cut], [(12, 8)] * 2)
        assert all(np.array_equal(np.asarray(mask), pixels[..., 3]) for mask in found)
    with pytest.raises(ValueError, match="there are 2 masks for 3 pictures"):
        load_masks(tmp_path, [cut] * 3, [(12, 8)] * 3)
    with pytest.raises(ValueError, match="mask 2 has 12x8 pixels, its picture 9x8"):
        load_masks(tmp_path, [cut] * 2, [(12, 8), (9, 8)])
    with pytest.raises(ValueError, match="no transparency"):
        load_masks("alpha", [cut.convert("RGB")], [(12, 8)])


def test_formats_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    png(tmp_path / "a.png")
    (tmp_path / "IMG_0001.HEIC").write_bytes(b"ftypheic")
    (tmp_path / "notes.txt").touch()
    assert len(load_images(tmp_path)) == 1
    assert "IMG_0001.HEIC; this format is not read, convert it to JPEG or PNG" in caplog.text
    assert "notes" not in caplog.text


def test_floats_are_scaled_by_their_type(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    for name, factor in (("whole", 1.0), ("dark", 0.004)):
        Image.fromarray(values * factor).save(tmp_path / f"{name}.tif")
        read = np.asarray(load_images(tmp_path / f"{name}.tif")[0])[..., 0]
        np.testing.assert_allclose(read / 255, values * factor, atol=0.5 / 255 + 1e-6)
    Image.fromarray(values * 255).save(tmp_path / "bytes.tif")
    with pytest.raises(
        ValueError, match=r"bytes.tif has values from .*, but a picture of floats is black at 0 and white"
    ):
        load_images(tmp_path / "bytes.tif")


def test_pictures_in_a_subfolder_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "10_toy").mkdir()
    png(tmp_path / "10_toy" / "a.png")
    with pytest.raises(
        ValueError, match=r"no pictures in the folder .* itself; .*10_toy has some, so give that folder"
    ):
        load_images(tmp_path)
