"""Picture files: modes, orientation and depth become RGB; what cannot be read is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mappers.pictures import MOVING_ENDINGS, PICTURE_ENDINGS, PictureError, open_rgb


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
