"""What a file is, by its name and content, and what cannot be read is one sentence."""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf.compression.container.bitstream import LARGEST_AXIS, Item
from nerf.compression.container.errors import DimensionsError
from nerf.compression.modalities import videos
from nerf.compression.modalities.modality import Sound
from nerf.compression.modalities.registry import MODALITY_CODECS, modality_codec_of
from nerf.compression.modalities.sounds import RATE
from nerf.export import write_film
from nerf.media.reading import MediaError

VOLUMES = MODALITY_CODECS["volume"]


def claimed(shape: tuple[int, ...]) -> bytes:
    """A NumPy file with the header of an array of this shape, and no values."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "b.nii.gz",
            "b.nii.gz is a NIfTI volume, which cannot be read; save its values, an array of three axes, as .npy",
        ),
        ("B.NII", "is a NIfTI volume"),
        ("s.dcm", "s.dcm is a DICOM picture, which cannot be read"),
        ("s.exr", "is an OpenEXR picture"),
    ],
)
def test_formats_of_other_programs_are_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modality_codec_of(name)


def test_a_gif_is_a_picture_if_it_has_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "logo.gif")
    write_film([np.full((8, 8, 3), shade, np.uint8) for shade in (0, 200)], tmp_path / "film.gif", fps=5)
    assert [modality_codec_of(tmp_path / f"{name}.gif").modality for name in ("logo", "film")] == ["picture", "video"]
    assert isinstance(MODALITY_CODECS["picture"].read(tmp_path / "logo.gif"), Image.Image)


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((100_000, 100_000, 50), "a.np. is too large: an item must have 1 to 67,108,864 points"),
        ((4, 5, 6, 7), r"the shapes in it are \[\(4, 5, 6, 7\)\].*several volumes as several files"),
        ((4, 5), r"the shapes in it are \[\(4, 5\)\]"),
        ((4, 5, 6), "cannot be read as an array of three axes .*give a whole .npy"),
    ],
)
def test_arrays_are_judged_by_their_headers(ending: str, shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "npy":
        path.write_bytes(claimed(shape))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", claimed(shape))
    with pytest.raises(ValueError, match=message):
        VOLUMES.read(path)


def test_of_several_arrays_the_first_volume_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", flat=np.zeros((2, 2)), volume=np.ones((2, 3, 4), bool), other=np.zeros((1, 1, 1)))
    found = VOLUMES.read(tmp_path / "a.npz")
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((2, 3, 4), bool)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint64, np.float16, np.uint8, ">i4"])
def test_volumes_come_back_with_their_type_and_ends(dtype: str | type) -> None:
    limits = (0, 1) if dtype is bool else (-60000, 60000) if dtype is np.float16 else ()
    low, high = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    volume = np.array([low, high, low, high, high, low, low, high], dtype).reshape(2, 2, 2)
    datum = VOLUMES.to_datum(volume)
    samples = np.rint((datum.values.numpy() + 0.5) * 65535).astype(np.uint16)
    item = Item((2, 2, 2), datum.flags, b"", datum.extra)
    found = VOLUMES.from_samples(samples, item, ((0, 2),) * 3)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.dtype(dtype).newbyteorder("<")
    np.testing.assert_allclose(found.astype(float), volume.astype(float), rtol=1e-9)


def test_a_range_that_no_double_holds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"span -1e\+308 to 1e\+308, which is too much for float64; scale them"):
        VOLUMES.to_datum(np.array([[[1e308, -1e308]]]))


def test_a_sound_that_is_too_long_is_refused_in_minutes(tmp_path: Path) -> None:
    for channels, message in (
        (1, "lasts 18.0 minutes, .* at most 17.5 minutes of mono"),
        (2, "at most 8.7 minutes of"),
    ):
        with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(1)
            file.setframerate(1000)
            file.writeframes(bytes(channels * 1000 * 60 * 18))
        with pytest.raises(ValueError, match=rf"talk.wav .*{message}"):
            MODALITY_CODECS["sound"].read(tmp_path / "talk.wav")
    silence = np.broadcast_to(np.zeros((1, 1), np.float32), (LARGEST_AXIS + 1, 1))
    with pytest.raises(ValueError, match="the sound lasts 17.5 minutes"):
        MODALITY_CODECS["sound"].to_datum(Sound(silence, RATE))


def test_clipped_samples_are_counted_and_measured(caplog: pytest.LogCaptureFixture) -> None:
    datum = MODALITY_CODECS["sound"].to_datum(Sound(np.array([[0.5], [-3.0], [1.0]], np.float32), RATE))
    assert "1 of 3 samples lie outside -1..1 and are clipped" in caplog.text
    assert datum.original is not None
    np.testing.assert_allclose(datum.original, [[0.75 * 65535, -65535, 65535]])


def test_large_pictures_and_films_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image.Image, "copy", None)
    with pytest.raises(DimensionsError, match="got 9000 x 9000"):
        MODALITY_CODECS["picture"].read(tmp_path / "large.png")
    write_film([np.zeros((16, 16, 3), np.uint8)] * 3, tmp_path / "a.mp4", fps=5)
    monkeypatch.setattr(videos, "LARGEST_ITEM", 2 * 16 * 16)
    with pytest.raises(MediaError, match="3 frames of 16x16, 768 points, of which 512 can be used.* at most 2 of its"):
        MODALITY_CODECS["video"].read(tmp_path / "a.mp4")
