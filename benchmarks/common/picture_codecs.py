"""The picture codecs that ours is compared with: Pillow's JPEG, WebP, AVIF and JPEG 2000, at their slow settings."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from benchmarks.common.curves import Point

Pixels = UInt8[np.ndarray, "h w 3"]
Frames = UInt8[np.ndarray, "n h w 3"]
QUALITIES = range(1, 96, 2)
RATIOS = tuple(float(ratio) for ratio in np.geomspace(4, 480, 48))
"""Bytes of the pixels for each byte of a JPEG 2000 file."""


@dataclass(frozen=True)
class PictureCodec:
    """A codec of Pillow's."""

    format: str
    """Pillow's name of it."""
    settings: Sequence[Mapping[str, Any]]
    """Options of `PIL.Image.Image.save`, one for each point of its curve."""

    def encode(self, picture: Image.Image, setting: Mapping[str, Any]) -> tuple[int, Pixels]:
        """Bytes of the file of an RGB picture, and the pixels that it decodes to."""
        file = io.BytesIO()
        picture.save(file, self.format, **setting)
        return len(file.getvalue()), np.asarray(Image.open(file).convert("RGB"))


CODECS = {
    "JPEG": PictureCodec("JPEG", [{"quality": quality, "optimize": True} for quality in QUALITIES]),
    "WebP": PictureCodec("WEBP", [{"quality": quality, "method": 6} for quality in QUALITIES]),
    "AVIF": PictureCodec("AVIF", [{"quality": quality, "subsampling": "4:4:4", "speed": 4} for quality in QUALITIES]),
    # Without mct=1 Pillow codes red, green and blue apart, which costs decibels.
    "JPEG 2000": PictureCodec(
        "JPEG2000",
        [{"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1} for ratio in RATIOS],
    ),
}
"""By the name that tables show."""


def encodings(picture: Image.Image, codecs: Sequence[str] = tuple(CODECS)) -> Iterator[tuple[str, int, Pixels]]:
    """Name, bytes and decoded pixels of an RGB picture at every setting of the codecs."""
    for name in codecs:
        for setting in CODECS[name].settings:
            yield name, *CODECS[name].encode(picture, setting)


def points_around(picture: Image.Image, name: str, size: int, psnr: Callable[[Pixels, Pixels], float]) -> list[Point]:
    """The points of a codec's curve on either side of a size, by bisection: few encodings instead of the whole curve.

    Args:
        picture: an RGB picture.
        name: of a codec in `CODECS`, whose settings stand in the order of their files' sizes.
        size: bytes.
        psnr: of decoded pixels and the picture's.
    """
    codec, pixels = CODECS[name], np.asarray(picture)
    low, high = 0, len(codec.settings) - 1
    found = {}
    for place in (low, high):
        bytes_, decoded = codec.encode(picture, codec.settings[place])
        found[place] = (bytes_, psnr(decoded, pixels))
    rising = found[high][0] > found[low][0]
    while high - low > 1:
        middle = (low + high) // 2
        bytes_, decoded = codec.encode(picture, codec.settings[middle])
        found[middle] = (bytes_, psnr(decoded, pixels))
        low, high = (middle, high) if (bytes_ <= size) == rising else (low, middle)
    return [found[low], found[high]]


def frame_curves(
    frames: Frames, psnr: Callable[[Frames, Frames], float], codecs: Sequence[str], *, every: int = 3
) -> dict[str, list[Point]]:
    """Curves of frames that are coded one by one: bytes of all their files, and ``psnr(decoded, frames)``.

    Args:
        frames: of a video, or slices of a volume.
        psnr: of all frames together.
        codecs: names in `CODECS`.
        every: only every so manieth setting is tried.
    """
    curves = {}
    for name in codecs:
        points = []
        for setting in CODECS[name].settings[::every]:
            sizes, decoded = zip(*(CODECS[name].encode(Image.fromarray(f), setting) for f in frames), strict=True)
            points.append((sum(sizes), psnr(np.stack(decoded), frames)))
        curves[name] = sorted(points)
    return curves
