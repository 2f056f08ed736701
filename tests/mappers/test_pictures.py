"""Picture files: modes, orientation and depth become RGB; what cannot be read is one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mappers.pictures import (
    MOVING_ENDINGS,
    PICTURE_ENDINGS,
    PictureError,
    depth_losses,
    file_losses,
    in_srgb,
    open_rgb,
    opened,
)


def test_every_mode_becomes_rgb_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((2, 2), 0x8040, np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (2, 2), 1).save(tmp_path / "bits.png")
    for name, color in (("clear", (255, 255, 255)), ("deep", (0x80,) * 3), ("bits", (255,) * 3)):
        picture = open_rgb(tmp_path / f"{name}.png")
        assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", color), name


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_rgb(tmp_path / "turned.jpg").size == (2, 3)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:90])
    for name, message in (("text.png", "text.png is not a picture"), ("cut.png", "cut.png is damaged")):
        with pytest.raises(PictureError, match=message):
            open_rgb(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"there is no picture .*none.png"):
        open_rgb(tmp_path / "none.png")


def test_endings_are_lower_case_and_named_once() -> None:
    assert len(set(PICTURE_ENDINGS)) == len(PICTURE_ENDINGS)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in (*PICTURE_ENDINGS, *MOVING_ENDINGS))


RAMP = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (RAMP, "a.tif"),
        (np.where(RAMP == 1, np.float32(1.02), RAMP), "a.tif"),
        ((RAMP * 65535).astype(np.uint16), "a.png"),
        ((RAMP * 65535).astype(np.int32), "a.tif"),
    ],
)
def test_white_is_what_the_type_says(values: np.ndarray, name: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / name)
    np.testing.assert_allclose(np.asarray(open_rgb(tmp_path / name))[..., 1], RAMP * 255, atol=0.51)


def test_a_dim_picture_stays_dim(tmp_path: Path) -> None:
    Image.fromarray((RAMP * 4095).astype(np.uint16)).save(tmp_path / "dim.png")
    assert np.asarray(open_rgb(tmp_path / "dim.png")).max() == 16
    with opened(tmp_path / "dim.png") as image:
        found = depth_losses(image)
    assert found[0].endswith("dim.png has more than 8 bits a value; the lower ones are lost")
    assert found[1].endswith("dim.png has 17 of 256 levels left; spread its values over the range of its type first")


def test_values_beyond_white_are_counted_and_pictures_of_them_refused(tmp_path: Path) -> None:
    bright = Image.fromarray(np.where(RAMP > 0.97, np.float32(1.02), RAMP))
    assert depth_losses(bright)[1] == "3 of 100 values of the picture lie outside black and white and are clipped"
    for values, message in (
        (RAMP * 250, "a.tif has values from 0 to 250, but a picture of floats is black at 0 and white at 1; scale"),
        (np.full_like(RAMP, np.nan), "a.tif has values that are not finite"),
    ):
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(PictureError, match=message):
            open_rgb(tmp_path / "a.tif")


def with_other_colors(path: Path) -> Path:
    """A picture of pure red and grey with a profile in which red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12)}
    red, blue = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    profile[red], profile[blue] = profile[blue], profile[red]
    named = bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (90, 90, 90, 255))
    picture.save(path, icc_profile=named)
    return path


def test_colors_of_another_profile_are_shown_in_srgb(tmp_path: Path) -> None:
    picture = np.asarray(open_rgb(with_other_colors(tmp_path / "a.png"))).astype(int)
    assert abs(picture[0, 0] - (0, 0, 255)).max() <= 2
    assert abs(picture[0, 1] - 90).max() <= 2
    with opened(tmp_path / "a.png") as image:
        assert in_srgb(image).mode == "RGBA"


def test_a_profile_that_cannot_be_used_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (2, 1), "red").save(tmp_path / "a.png", icc_profile=b"no profile")
    assert open_rgb(tmp_path / "a.png").getpixel((0, 0)) == (255, 0, 0)
    assert "a.png cannot be used" in caplog.text


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif", "a.gif"])
def test_further_pictures_of_a_file_are_counted(name: str, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (40 * number, 0, 0)) for number in range(6)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    with opened(tmp_path / name) as image:
        (found,) = file_losses(image)
    assert found.endswith(f"{name} has 6 pictures, and only the first is used; give a folder for all")
    pictures[0].save(tmp_path / name)
    with opened(tmp_path / name) as image:
        assert file_losses(image) == []


def test_sixteen_bits_of_colors_are_noticed(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(4 * 6) for _ in range(4))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    whole = [struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(whole))
    with opened(tmp_path / "deep.png") as image:
        (found,) = file_losses(image)
    assert "deep.png has more than 8 bits a value; the lower ones are lost as it is read" in found


def test_photos_of_phones_are_named(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(PictureError, match=r"IMG_1.HEIC is a HEIC photo, which cannot be read; convert it to JPEG or"):
        open_rgb(tmp_path / "IMG_1.HEIC")
