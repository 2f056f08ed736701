"""Picture files as bytes with straight alpha, all of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mappers.files import files_in
from mappers.pictures import PICTURE_ENDINGS, PictureError, eight_bits, is_deep, opened

from .scene import SceneError

MASKS = "masks"


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder, by name."""
    return files_in(folder, PICTURE_ENDINGS)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header.

    Raises:
        SceneError: the file cannot be read.
    """
    with _open(path) as image:
        return image.size


def read_pictures(
    files: Sequence[Path], masks: Sequence[Path] | None, size: tuple[int, int]
) -> UInt8[Tensor, "n h w 4"]:
    """All pictures at ``size`` (width, height), made smaller by averaging areas where that is less than their own.

    Args:
        masks: a gray picture for each file that becomes its alpha; none when the pictures bring their own, or
            are opaque.

    Raises:
        SceneError: a file cannot be read, sizes differ, or only some pictures have alpha.
    """
    native = picture_size(files[0])
    width, height = size
    pictures = torch.empty(len(files), height, width, 4, dtype=torch.uint8)
    transparent: dict[bool, Path] = {}
    for index, path in enumerate(files):
        array, has_alpha = _read(path, native, files[0])
        if masks is not None:
            mask, _ = _read(masks[index], native, files[0])
            array[..., 3] = mask[..., 0]
        transparent.setdefault(has_alpha, path)
        pictures[index] = _smaller(torch.from_numpy(array), height, width)
    if masks is None and len(transparent) == 2:
        raise SceneError(f"{transparent[True]} has alpha but {transparent[False]} has none; give all of them alpha")
    return pictures


def _read(path: Path, size: tuple[int, int], first: Path) -> tuple[np.ndarray, bool]:
    """One picture as bytes [h, w, 4], and whether its file has an alpha channel."""
    with _open(path) as image:
        if image.size != size:
            found, wanted = "x".join(map(str, image.size)), "x".join(map(str, size))
            raise SceneError(f"{path} has {found} pixels but {first} has {wanted}; make all pictures one size")
        has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        if is_deep(image):
            gray = eight_bits(image)
            return np.stack([gray, gray, gray, np.full_like(gray, 255)], axis=-1), False
        return np.array(image.convert("RGBA")), has_alpha


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """`mappers.pictures.opened` with its errors as `SceneError`."""
    try:
        with opened(path) as image:
            yield image
    except FileNotFoundError as error:
        raise SceneError(f"the picture {path} is missing; restore it or remove its camera") from error
    except PictureError as error:
        raise SceneError(f"{error}, or remove its camera") from error


def _smaller(picture: UInt8[Tensor, "h w 4"], height: int, width: int) -> UInt8[Tensor, "i j 4"]:
    """Area averages of premultiplied colours, so that transparent pixels do not affect the colours of others."""
    if picture.shape[:2] == (height, width):
        return picture
    values = picture.permute(2, 0, 1).float() / 255
    alpha: Float[Tensor, "1 h w"] = values[3:]
    mean = adaptive_avg_pool2d(torch.cat([values[:3] * alpha, alpha]), (height, width))
    straight = torch.cat([mean[:3] / mean[3:].clamp(min=1e-6), mean[3:]])
    return (straight * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
