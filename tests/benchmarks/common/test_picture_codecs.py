"""The picture codecs to compare with."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks.common.picture_codecs import CODECS, PictureCodec, encodings, frame_curves
from benchmarks.common.video_codecs import mean_psnr
from mappers.quality import psnr


@pytest.fixture
def pixels() -> np.ndarray:
    """A grey photograph-like picture with a tint, 64x64: its colour channels have much in common."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    grey = 128 + 60 * np.sin(x / 5) * np.cos(y / 7) + np.random.default_rng(0).normal(0, 12, (64, 64))
    return np.stack([grey, 0.9 * grey + 10, 0.8 * grey + 20], -1).clip(0, 255).astype(np.uint8)


def test_jpeg_2000_has_its_colour_transform(pixels: np.ndarray) -> None:
    """Without it, equal bytes give a picture that is decibels worse."""
    codec, ratio = CODECS["JPEG 2000"], 15.0
    setting = next(one for one in codec.settings if one["quality_layers"][0] >= ratio)
    assert setting["mct"] == 1
    size, decoded = codec.encode(Image.fromarray(pixels), setting)
    without = codec.encode(Image.fromarray(pixels), {**setting, "mct": 0})
    assert size <= 1.05 * without[0]
    assert psnr(decoded, pixels) > psnr(without[1], pixels) + 1


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_has_a_rising_curve(name: str, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = CODECS[name]
    monkeypatch.setitem(CODECS, name, PictureCodec(codec.format, codec.settings[::12]))
    points = sorted((size, psnr(decoded, pixels)) for _, size, decoded in encodings(Image.fromarray(pixels), [name]))
    assert len(points) == 4
    assert points[-1][0] > 2 * points[0][0]
    assert points[-1][1] > points[0][1] + 5


def test_frames_are_files_of_their_own(pixels: np.ndarray) -> None:
    one = frame_curves(pixels[None], mean_psnr, ["JPEG"], every=12)["JPEG"]
    two = frame_curves(np.stack([pixels, pixels]), mean_psnr, ["JPEG"], every=12)["JPEG"]
    assert [size for size, _ in two] == [2 * size for size, _ in one]
    assert [quality for _, quality in two] == pytest.approx([quality for _, quality in one])
