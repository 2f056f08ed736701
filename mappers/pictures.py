"""Picture files: which endings they have, and how every capability opens one as 8-bit RGB."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

logger = logging.getLogger(__name__)

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")
"""Endings of picture files, lower case. Of a GIF with several frames, what reads pictures reads the first."""
VIDEO_ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
"""Endings of video files that may have sound, lower case."""
MOVING_ENDINGS = (*VIDEO_ENDINGS, ".gif")
"""Endings of all files whose frames move."""

FEW_LEVELS = 64
"""A picture of 16 bits or floats of which at most so many levels of 256 are left is named."""
NAME = "mapfield file"
"""Where a picture's `info`, which its copies have too, says from which file it was read."""
PHONE_ENDINGS = (".heic", ".heif", ".hif")
"""Endings of photos that phones write and Pillow does not read."""


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
            image.info[NAME] = str(path)
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {path}") from None
    except UnidentifiedImageError as error:
        refuse_phone(path)
        raise PictureError(f"{path} is not a picture that can be read; replace or remove it") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} is damaged ({error}); replace or remove it") from error


def refuse_phone(path: Path) -> None:
    """Refuse a phone's photo of a format that Pillow does not read.

    Raises:
        PictureError: the file's ending is one of `PHONE_ENDINGS`.
    """
    if path.suffix.lower() in PHONE_ENDINGS:
        raise PictureError(f"{path} is a HEIC photo, which cannot be read; convert it to JPEG or PNG")


def open_rgb(path: Path) -> Image.Image:
    """A picture file as 8-bit RGB; see `to_rgb`.

    Raises:
        FileNotFoundError, PictureError: see `opened`.
    """
    with opened(path) as image:
        return to_rgb(image)


def is_still(path: Path) -> bool:
    """Whether a file of an ending of `MOVING_ENDINGS` is a picture all the same: a GIF with one frame."""
    if path.suffix.lower() != ".gif" or not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) == 1
    except (OSError, SyntaxError):
        return False


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as 8-bit RGB in sRGB: turned as its EXIF orientation says, transparency on white.

    Raises:
        PictureError: see `unit_values`.
    """
    image = ImageOps.exif_transpose(image)
    if is_deep(image):
        image = Image.fromarray(eight_bits(image))
    image = in_srgb(image)
    if has_alpha(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has transparency."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits a value, as Pillow holds it: 16 or 32 bits, or floats."""
    return image.mode.startswith(("I", "F"))


def unit_values(image: Image.Image) -> Float[np.ndarray, "h w"]:
    """Values of a picture that `is_deep`, where 1 is white. Its type says what white is, never its values.

    White is 1 for floats and 65535 for integers: Pillow reads 16 bits as 32 from some files. Values may lie outside.

    Raises:
        PictureError: values are not finite, or more than half of them lie outside black and white.
    """
    white = 1 if image.mode == "F" else 65535
    values = np.asarray(image).astype(np.float64) / white
    if not np.isfinite(values).all():
        raise PictureError(f"{name_of(image)} has values that are not finite; replace them")
    if ((values < 0) | (values > 1)).mean() > 0.5:
        low, high = values.min() * white, values.max() * white
        kind = "floats" if white == 1 else "integers"
        raise PictureError(
            f"{name_of(image)} has values from {low:g} to {high:g}, but a picture of {kind} is black at 0 and white at"
            f" {white}; scale its values to that range"
        )
    return values


def eight_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """A picture that `is_deep` with 8 bits a value; values beyond black and white become those.

    Raises:
        PictureError: see `unit_values`.
    """
    return np.rint(unit_values(image).clip(0, 1) * 255).astype(np.uint8)


def in_srgb(image: Image.Image) -> Image.Image:
    """A picture with an embedded colour profile, with the values that show the same colours in sRGB.

    A profile that cannot be used is named in the log, and the values stay. So they do in a picture that `is_deep`.
    """
    profile = image.info.get("icc_profile")
    if not profile or is_deep(image) or image.mode == "1":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        alpha = image.convert("RGBA").getchannel("A") if has_alpha(image) else None
        gray = image.mode in ("L", "LA", "La")
        plain = image.convert("L" if gray else "CMYK" if image.mode == "CMYK" else "RGB")
        shown = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        logger.warning("the colour profile of %s cannot be used (%s); its values are kept", name_of(image), error)
        return image
    assert shown is not None
    shown = shown.convert("L") if gray else shown
    if alpha is not None:
        shown.putalpha(alpha)
    shown.info.pop("icc_profile", None)
    return shown


def file_losses(image: Image.Image) -> list[str]:
    """What is lost where an open file, whose pixels were not used yet, is read as one picture of 8-bit colours.

    Returns:
        Sentences for a log.
    """
    found = []
    # A phone's MPO has the depth or brightness of the photo as its second picture.
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if count > 1:
        found.append(f"{name_of(image)} has {count} pictures, and only the first is used; give a folder for all")
    if not is_deep(image) and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        found.append(f"{name_of(image)} has more than 8 bits a value; the lower ones are lost as it is read")
    return found


def depth_losses(image: Image.Image) -> list[str]:
    """What is lost where a picture becomes 8 bits a value; nothing unless it `is_deep`.

    Returns:
        Sentences for a log.

    Raises:
        PictureError: see `unit_values`.
    """
    if not is_deep(image):
        return []
    name, values = name_of(image), unit_values(image)
    found = [f"{name} has more than 8 bits a value; the lower ones are lost"]
    outside = int(((values < 0) | (values > 1)).sum())
    if outside:
        found.append(f"{outside} of {values.size} values of {name} lie outside black and white and are clipped")
    levels = int(np.ptp(np.rint(values.clip(0, 1) * 255))) + 1
    if levels <= FEW_LEVELS < np.ptp(values) * 65535:
        found.append(f"{name} has {levels} of 256 levels left; spread its values over the range of its type first")
    return found


def name_of(image: Image.Image) -> str:
    """The file of a picture, or "the picture" if it is of none."""
    return image.info.get(NAME, "the picture")
