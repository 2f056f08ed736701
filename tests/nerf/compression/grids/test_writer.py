"""Files of grids: of the size or quality asked for, decodable in parts, and with a name for every damage."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mappers.quality import psnr
from nerf.compression.container import bitstream, errors
from nerf.compression.container.binary import MAGIC, varint, with_checksum
from nerf.compression.files import Compressed, compress, decompress
from nerf.compression.overview import describe


@pytest.fixture(scope="module")
def file(photo: Image.Image, grids_folder: str) -> Compressed:
    return compress(photo, model=grids_folder)


@pytest.fixture(scope="module")
def tiled(photo: Image.Image, grids_folder: str) -> Compressed:
    """Of four tiles."""
    return compress(photo.resize((500, 420)), model=grids_folder)


def pixels(data: bytes, folder: str, **options: object) -> np.ndarray:
    found = decompress(data, model=folder, **options)  # pyright: ignore
    assert isinstance(found, Image.Image)
    return np.asarray(found).astype(int)


def test_reported_figures_are_those_of_the_file(file: Compressed, photo: Image.Image, grids_folder: str) -> None:
    found = decompress(file.data, model=grids_folder)
    assert isinstance(found, Image.Image)
    assert file.psnr == pytest.approx(psnr(np.asarray(found), np.asarray(photo)), abs=1e-9)
    assert file.psnr > 25
    about = describe(file.data, model=grids_folder)
    assert (about["method"], about["tiles"], about["shape"]) == ("grids", 1, "70x90")


@pytest.mark.parametrize("target", [1300, 2000, 4000])
def test_a_target_size_is_nearly_filled_and_never_exceeded(photo: Image.Image, grids_folder: str, target: int) -> None:
    size = len(compress(photo, model=grids_folder, target_bytes=target).data)
    assert 0.98 * target <= size <= target


def test_a_search_keeps_to_the_target_and_looks_no_worse(photo: Image.Image, grids_folder: str) -> None:
    plain = compress(photo.crop((0, 0, 64, 32)), model=grids_folder, target_bytes=500)
    longer = compress(photo.crop((0, 0, 64, 32)), model=grids_folder, target_bytes=500, effort=3)
    assert 0.98 * 500 <= len(longer.data) <= 500
    assert longer.psnr > plain.psnr - 0.1


def test_what_cannot_be_reached_is_said(photo: Image.Image, grids_folder: str) -> None:
    with pytest.raises(ValueError, match=r"target_bytes 20 is less than the \d+ bytes that these pictures need"):
        compress(photo, model=grids_folder, target_bytes=20)
    with pytest.raises(ValueError, match=r"target_psnr 90 dB is more than the \d+\.\d+ dB of the smallest step"):
        compress(photo, model=grids_folder, target_psnr=90)
    with pytest.raises(ValueError, match=r"effort must be in 0\.\.9, got 10"):
        compress(photo, model=grids_folder, effort=10)
    with pytest.raises(ValueError, match="give effort"):
        compress(photo, model=grids_folder, seconds=3)
    with pytest.raises(ValueError, match="give seconds"):
        compress(photo, model="tiny", effort=3)


def test_a_target_quality_is_reached_narrowly(photo: Image.Image, grids_folder: str) -> None:
    found = compress(photo, model=grids_folder, target_psnr=30)
    assert 30 <= found.psnr < 30.3


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("size", [(1, 1), (33, 7)])
def test_size_and_mode_stay(photo: Image.Image, grids_folder: str, size: tuple[int, int], mode: str) -> None:
    original = photo.convert(mode).resize(size)
    found = decompress(compress(original, model=grids_folder).data, model=grids_folder)
    assert isinstance(found, Image.Image)
    assert (found.size, found.mode) == (size, mode)


def test_constant_pictures_are_small(grids_folder: str) -> None:
    done = compress(Image.new("RGB", (64, 64), (10, 200, 90)), model=grids_folder, target_bytes=600)
    assert len(done.data) <= 600
    assert done.psnr > 30


def test_a_region_is_that_of_the_whole(tiled: Compressed, grids_folder: str) -> None:
    whole = pixels(tiled.data, grids_folder)
    for left, top, width, height in ((0, 0, 10, 10), (240, 200, 30, 33), (499, 419, 1, 1)):
        part = pixels(tiled.data, grids_folder, region=(left, top, width, height))
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


def test_more_of_a_file_looks_better(tiled: Compressed, photo: Image.Image, grids_folder: str) -> None:
    original = np.asarray(photo.resize((500, 420))).astype(np.uint8)
    shares = [pixels(tiled.data, grids_folder, share=share).astype(np.uint8) for share in (0, 0.3, 1)]
    found = [psnr(picture, original) for picture in shares]
    assert found[0] < found[1] < found[2]


def test_single_precision_is_off_by_one_at_most(file: Compressed, grids_folder: str) -> None:
    exact, fast = (pixels(file.data, grids_folder, fast=fast) for fast in (False, True))
    assert abs(exact - fast).max() <= 1


def test_a_pack_holds_pictures_of_several_sizes(photo: Image.Image, grids_folder: str) -> None:
    parts = [photo.crop((0, 0, 32, 32)), photo.crop((20, 10, 60, 70)).convert("L"), photo.crop((5, 5, 37, 37))]
    packed = compress(parts, model=grids_folder, target_bytes=1500)
    assert 0.98 * 1500 <= len(packed.data) <= 1500
    found = decompress(packed.data, model=grids_folder)
    assert isinstance(found, list)
    assert [one.size for one in found] == [part.size for part in parts]  # pyright: ignore
    assert min(psnr(np.asarray(a), np.asarray(b)) for a, b in zip(found, parts, strict=True)) > 22


def test_intact_tiles_of_a_damaged_file_are_salvaged(tiled: Compressed, grids_folder: str) -> None:
    whole = pixels(tiled.data, grids_folder)
    damaged = bytearray(tiled.data)
    damaged[60] ^= 255
    with pytest.raises(errors.ChecksumError):
        decompress(bytes(damaged), model=grids_folder)
    with pytest.raises(errors.PayloadError, match="1 tiles of item 0 are damaged"):
        decompress(with_checksum(bytes(damaged[:-4])), model=grids_folder)
    found = pixels(bytes(damaged), grids_folder, salvage=True)
    assert (found[-100:, -100:] == whole[-100:, -100:]).all()
    assert (found[:100, :100] != whole[:100, :100]).any()
    cut = pixels(tiled.data[: len(tiled.data) // 2], grids_folder, salvage=True)
    assert (cut[:100, :100] == whole[:100, :100]).all()


def test_every_flipped_byte_and_truncation_is_named(file: Compressed, grids_folder: str) -> None:
    for place in range(len(file.data)):
        damaged = bytearray(file.data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(errors.CompressedFileError):
            decompress(bytes(damaged), model=grids_folder)
        with pytest.raises(errors.CompressedFileError):
            decompress(file.data[:place], model=grids_folder)


def test_headers_that_lie_are_refused_before_anything_is_allocated(file: Compressed, grids_folder: str) -> None:
    container = bitstream.read(file.data)
    start = MAGIC + bytes([2, 0, 2]) + container.model + bytes([container.rate, 0])

    def written(dims: bytes, content: bytes) -> bytes:
        return with_checksum(start + dims + varint(len(content)) + content + b"\0\0")

    with pytest.raises(errors.PayloadError, match="4 bytes cannot hold a picture of 8192 x 8192 pixels"):
        decompress(written(varint(8192) + varint(8192), b"1234"), model=grids_folder)
    with pytest.raises(errors.PayloadError, match="the sizes of the tiles do not fit"):
        decompress(written(varint(500) + varint(500), b"\x7f" * 40), model=grids_folder)
    with pytest.raises(errors.DimensionsError):
        decompress(written(varint(1 << 20) + varint(1 << 20), b"1234"), model=grids_folder)
    with pytest.raises(errors.VersionError, match="of method 3"):
        decompress(with_checksum(file.data[:6] + b"\3" + file.data[7:-4]), model=grids_folder)
    with pytest.raises(errors.WrongModelError):
        decompress(file.data)
    with pytest.raises(errors.WrongModelError):
        decompress(file.data, model="tiny")


def test_a_target_beyond_the_smallest_step_is_reported(
    photo: Image.Image, grids_folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    done = compress(photo.crop((0, 0, 32, 32)), model=grids_folder, target_bytes=100_000)
    assert done.psnr > 39
    assert "fewer than target_bytes 100000: the smallest step has no use for more" in caplog.text
