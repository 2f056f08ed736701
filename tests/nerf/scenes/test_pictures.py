"""Picture files of every kind as bytes with straight alpha."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms

from nerf.scenes.pictures import PictureSource, picture_files, picture_size, read_pictures


def read(path: Path) -> torch.Tensor:
    size = picture_size(path)
    return read_pictures([PictureSource(path, size)], [size])[0][0]


def test_gray_palette_and_16_bit_pictures(tmp_path: Path) -> None:
    gray = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("gray.png", "deep.png"):
        got = read(tmp_path / name)
        assert torch.equal(got[..., :3], torch.from_numpy(gray)[..., None].expand(2, 2, 3))
        assert (got[..., 3] == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read(tmp_path / "palette.png").tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]
    Image.fromarray(np.dstack([gray, 255 - gray])).save(tmp_path / "la.png")
    assert torch.equal(read(tmp_path / "la.png")[..., 3], torch.from_numpy(255 - gray))


def swapped_colors() -> bytes:
    """A colour profile in which red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12)}
    red, blue = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    profile[red], profile[blue] = profile[blue], profile[red]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_colors_are_those_of_the_profile_and_masks_keep_their_values(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "photo.png", icc_profile=swapped_colors())
    Image.new("RGB", (2, 2), (90, 0, 0)).save(tmp_path / "mask.png", icc_profile=swapped_colors())
    source = PictureSource(tmp_path / "photo.png", (2, 2), mask=tmp_path / "mask.png")
    picture = read_pictures([source], [(2, 2)])[0][0, 0, 0].int()
    assert (picture - torch.tensor([0, 0, 255, 90])).abs().max() <= 2


def test_transparent_pixels_lend_no_colour(tmp_path: Path) -> None:
    """White where nothing is, black where something is: halves mix to black at half alpha, not to gray."""
    array = np.zeros((2, 2, 4), dtype=np.uint8)
    array[:, 0] = [255, 255, 255, 0]
    array[:, 1] = [0, 0, 0, 255]
    Image.fromarray(array).save(tmp_path / "a.png")
    pictures, kept = read_pictures([PictureSource(tmp_path / "a.png", (2, 2))], [(1, 1)])
    assert pictures.tolist() == [[[[0, 0, 0, 128]]]]
    assert kept is None


def test_only_pictures_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
