"""Picture files of all modes, depths, formats and shapes."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from .values import damage

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".gif": "GIF", ".ppm": "PPM",
    ".PNG": "PNG", ".jpeg": "JPEG", ".tiff": "TIFF",
}  # fmt: skip
"""Endings and the formats that belong to them."""
OTHER = {".heic": "PNG", ".avif": "AVIF", ".ico": "ICO", ".txt": "PNG", "": "PNG", ".tga": "TGA"}
"""Endings that the commands do not read, or not all of them."""
SIDES = (1, 2, 3, 8, 16, 17, 31, 32, 48)


def values(rng: random.Random, mode: str, width: int, height: int) -> Image.Image:
    """A picture of a mode: noise, one colour, a ramp, or values that are not finite."""
    draws = np.random.default_rng(rng.randrange(2**31))
    kind = rng.choice(("noise", "plain", "ramp", "odd"))
    if mode == "F":
        pixels = {
            "noise": draws.random((height, width)) * rng.choice((1, 1, 1.02, 255, 1e30)),
            "plain": np.full((height, width), rng.choice((0.0, 1.0, -3.0))),
            "ramp": np.linspace(0, 1, height * width).reshape(height, width),
            "odd": np.full((height, width), rng.choice((np.nan, np.inf))),
        }[kind]
        return Image.fromarray(pixels.astype(np.float32))
    if mode in ("I", "I;16"):
        pixels = draws.integers(0, rng.choice((2, 4096, 65536)), (height, width))
        return Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.int32))
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = draws.integers(0, 256, (height, width, channels), dtype=np.uint8)
    if kind != "noise":
        pixels[:] = 0 if kind == "odd" else pixels[0, 0]
    if mode in ("P", "1"):
        return Image.fromarray(pixels[..., 0]).convert(mode)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def picture(rng: random.Random, folder: Path, stem: str, *, side: int | None = None, plain: bool = False) -> Path:
    """Write a picture.

    Args:
        rng: all draws.
        folder: where to write it.
        stem: its name without the ending.
        side: its width and height; if not given, any.
        plain: a whole PNG in RGB.
    """
    if plain:
        path = folder / f"{stem}.png"
        values(rng, "RGB", side or 16, side or 16).save(path)
        return path
    ending = rng.choice([*FORMATS] * 3 + [*OTHER])
    mode = rng.choice(MODES)
    sides = (side or rng.choice(SIDES), side or rng.choice(SIDES))
    image = values(rng, mode, *sides)
    path = folder / f"{stem}{ending}"
    path.write_bytes(_encoded(rng, image, FORMATS.get(ending) or OTHER[ending]))
    if rng.random() < 0.04:
        path.write_bytes(_claims(30_000, 30_000))
    return damage(rng, path)


def _encoded(rng: random.Random, image: Image.Image, kind: str) -> bytes:
    settings: dict[str, object] = {}
    if rng.random() < 0.2:
        exif = Image.Exif()
        exif[274] = rng.choice((0, 3, 6, 8, 99))
        settings["exif"] = exif
    if rng.random() < 0.1:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        settings["icc_profile"] = rng.choice((profile, b"no profile", profile[:100]))
    if kind in ("GIF", "WEBP", "PNG", "TIFF") and rng.random() < 0.2:
        more = [values(rng, image.mode, *image.size) for _ in range(2)]
        settings |= {"save_all": True, "append_images": more}
    for made in (image, image.convert("L") if image.mode in ("F", "I", "I;16") else image.convert("RGB")):
        for given in (settings, {}):
            stream = io.BytesIO()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made.save(stream, kind, **given)
                return stream.getvalue()
            except (OSError, ValueError, TypeError, SystemError):  # the format does not have the mode or the setting
                continue
    return b""


def _claims(width: int, height: int) -> bytes:
    """A PNG whose header names a size that its data does not have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
