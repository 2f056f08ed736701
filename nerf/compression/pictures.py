"""Picture files to values and back: any size and mode; what a file cannot hold is said, not guessed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .bitstream import ALPHA, GREY, check_dims
from .errors import PayloadError


@dataclass(frozen=True)
class Picture:
    """A picture's values and what its shape is made of."""

    values: Float[Tensor, "3 h w"]
    """-0.5..0.5; a grey picture has three equal channels."""
    flags: int
    alpha: bytes = b""
    """The transparency plane, deflated: it is kept exactly."""

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])


def read_picture(source: Image.Image | Path) -> Picture:
    """A picture as values, upright as its metadata says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a picture, or a damaged one.
    """
    if isinstance(source, Path):
        try:
            with Image.open(source) as file:
                file.load()
                source = file.copy()
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {source}") from None
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{source} cannot be read as a picture ({error}); give a whole PNG, JPEG or WebP"
            ) from None
    picture = ImageOps.exif_transpose(source)
    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture)
    transparent = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA", "La")
    whole = np.asarray(picture.convert("RGBA"))
    check_dims(whole.shape[:2])
    values = torch.from_numpy(whole[..., :3].copy()).permute(2, 0, 1).float() / 255 - 0.5
    alpha = zlib.compress(whole[..., 3].tobytes(), 9) if transparent else b""
    return Picture(values, (GREY if grey else 0) | (ALPHA if transparent else 0), alpha)


def make_picture(values: UInt8[np.ndarray, "3 h w"], flags: int, alpha: bytes) -> Image.Image:
    """A picture of the mode that the flags tell: L, LA, RGB or RGBA.

    Raises:
        PayloadError: the transparency plane is not one of this size.
    """
    rgb = values.transpose(1, 2, 0)
    if flags & GREY:
        rgb = np.rint(rgb.mean(2, keepdims=True)).astype(np.uint8)
    if flags & ALPHA:
        rgb = np.concatenate([rgb, _plane(alpha, rgb.shape[:2])[..., None]], 2)
    return Image.fromarray(rgb[..., 0] if rgb.shape[2] == 1 else np.ascontiguousarray(rgb))


def _plane(alpha: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w"]:
    """Inflate a plane, never to more than its size."""
    inflater, size = zlib.decompressobj(), shape[0] * shape[1]
    try:
        plane = inflater.decompress(alpha, size + 1)
    except zlib.error as error:
        raise PayloadError(f"the transparency plane is damaged ({error}); get an undamaged copy") from None
    if len(plane) != size or not inflater.eof or inflater.unused_data:
        raise PayloadError(f"the transparency plane has not the picture's {size} points; get an undamaged copy")
    return np.frombuffer(plane, np.uint8).reshape(shape)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Values of 16 bits, or of another range, to 8 bits."""
    values = np.asarray(picture).astype(np.float64)
    highest = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 else 1.0
    return Image.fromarray(np.rint(values.clip(0, highest) * 255 / highest).astype(np.uint8))
