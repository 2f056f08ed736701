"""Picture files: which endings they have, and how every capability opens one as 8-bit RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")
"""Endings of picture files, lower case. Of a GIF with several frames, what reads pictures reads the first."""
VIDEO_ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
"""Endings of video files that may have sound, lower case."""
MOVING_ENDINGS = (*VIDEO_ENDINGS, ".gif")
"""Endings of all files whose frames move."""


class PictureError(ValueError):
    """A picture file cannot be used; the message names the file and the remedy."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file, open for the time of a block; Pillow reads its pixels when they are first used.

    Raises:
        FileNotFoundError: there is no such file.
        PictureError: the file is not a picture, or reading its pixels in the block fails.
    """
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {path}") from None
    except UnidentifiedImageError as error:
        raise PictureError(f"{path} is not a picture that can be read; replace or remove it") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} is damaged ({error}); replace or remove it") from error


def open_rgb(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB; see `to_rgb`.

    Raises:
        FileNotFoundError, PictureError: see `opened`.
    """
    with opened(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as 8-bit RGB: turned as its EXIF orientation says, transparency on white, 16 bits to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray(high_bytes(image))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def high_bytes(image: Image.Image) -> np.ndarray:
    """The upper 8 bits of a 16-bit grey picture, [h, w]."""
    return (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
