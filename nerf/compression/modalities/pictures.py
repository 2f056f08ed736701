"""Pictures of any size and mode; losses that the codec does not control are logged."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps

from mappers.files import refuse_taken, replacing
from mappers.pictures import (
    MOVING_ENDINGS,
    PICTURE_ENDINGS,
    depth_losses,
    file_losses,
    has_alpha,
    in_srgb,
    is_deep,
    opened,
    unit_values,
)

from ..container.bitstream import EXTRA, GREY, Item, check_dims
from ..container.errors import PayloadError
from ..description import Box, Modality
from .modality import Datum

logger = logging.getLogger(__name__)

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
"""Endings of a format that holds 8 bits and no transparency."""


class PictureCodec:
    """Codec of pictures; transparency is kept exactly."""

    modality: Modality = "picture"
    steps = 255
    endings = tuple(ending for ending in PICTURE_ENDINGS if ending not in MOVING_ENDINGS)
    ending = ".png"

    def read(self, path: Path) -> Image.Image:
        """The picture of a file.

        Raises:
            FileNotFoundError: there is no such file.
            PictureError: it is not a picture, or a damaged one.
            DimensionsError: it is too large, as its header says.
        """
        with opened(path) as file:
            check_dims(file.size)
            for loss in file_losses(file):
                logger.warning("%s", loss)
            file.load()
            return file.copy()

    def to_datum(self, media: Image.Image) -> Datum:
        """Values of a picture in sRGB, rotated as its metadata says; a grey one has three equal channels.

        Raises:
            PictureError: see `mappers.pictures.unit_values`.
        """
        picture = ImageOps.exif_transpose(media)
        if is_deep(picture):
            return _deep_datum(picture)
        picture = in_srgb(picture)
        transparent = has_alpha(picture)
        grey = picture.mode in ("1", "L", "LA", "La")
        whole = np.asarray(picture.convert("RGBA"))
        check_dims(whole.shape[:2])
        values = torch.from_numpy(whole[..., :3].copy()).permute(2, 0, 1).float() / 255 - 0.5
        alpha = zlib.compress(whole[..., 3].tobytes(), 9) if transparent else b""
        return Datum(values, (GREY if grey else 0) | (EXTRA if transparent else 0), alpha)

    def from_samples(self, samples: UInt8[np.ndarray, "3 h w"], item: Item, box: Box) -> Image.Image:
        """The picture, of mode L, LA, RGB or RGBA according to the flags.

        Raises:
            PayloadError: the transparency plane is damaged or of another size.
        """
        rgb = samples.transpose(1, 2, 0)
        if item.flags & GREY:
            rgb = rgb[..., :1]
        if item.flags & EXTRA:
            plane = _plane(item.extra, item.dims)[tuple(slice(first, last) for first, last in box)]
            rgb = np.concatenate([rgb, plane[..., None]], 2)
        return Image.fromarray(rgb[..., 0] if rgb.shape[2] == 1 else np.ascontiguousarray(rgb))

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse an ending that is that of no picture, and to replace a file."""
        refuse_no_picture(path)
        refuse_taken(path, overwrite=overwrite)

    def write(self, media: Image.Image, path: Path) -> None:
        """Write a picture in the format of the file's ending.

        Raises:
            ValueError: the format cannot hold the picture.
        """
        refuse_no_picture(path)
        if path.suffix.lower() in JPEG and media.mode not in ("RGB", "L"):
            raise ValueError(f"{path} cannot hold transparency or more than 8 bits; give a file that ends in .png")
        with replacing(path) as temporary:
            media.save(temporary)


def refuse_no_picture(path: Path) -> None:
    """Refuse a file whose ending is that of no picture that can be written.

    Raises:
        ValueError: it is not.
    """
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"{path} cannot be written as a picture; give a file that ends in .png")


def _plane(alpha: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w"]:
    """Decompress a transparency plane, never to more than its size."""
    inflater, size = zlib.decompressobj(), shape[0] * shape[1]
    try:
        plane = inflater.decompress(alpha, size + 1)
    except zlib.error as error:
        raise PayloadError(
            f"damaged content: the transparency plane cannot be decompressed ({error}); get an undamaged copy"
        ) from None
    if len(plane) != size or not inflater.eof or inflater.unused_data:
        raise PayloadError(f"damaged content: the transparency plane has not {size} points; get an undamaged copy")
    return np.frombuffer(plane, np.uint8).reshape(shape)


def _deep_datum(picture: Image.Image) -> Datum:
    """Values of a grey picture of more than 8 bits, and those values as they are to measure with."""
    for loss in depth_losses(picture):
        logger.warning("%s", loss)
    unit = unit_values(picture)
    check_dims(unit.shape)
    channels = np.repeat(unit[None], 3, 0)
    return Datum(torch.from_numpy(channels.clip(0, 1)).float() - 0.5, GREY, original=channels * PictureCodec.steps)
