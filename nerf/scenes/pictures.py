"""Picture files as bytes with straight alpha, and which of their pixels count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d

from mappers.files import files_in
from mappers.pictures import PICTURE_ENDINGS, PictureError, eight_bits, has_alpha, in_srgb, is_deep, opened

from .scene import SceneError

MASKS = "masks"
ORIENTATION = 274
"""Number of the EXIF tag for the orientation."""


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


def shown_turned(path: Path) -> bool:
    """Whether a viewer shows the picture turned by a quarter, as its EXIF orientation says."""
    with _open(path) as image:
        return image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)


@dataclass(frozen=True)
class Exclusion:
    """A gray picture that says which pixels of a photo take no part in training and scores."""

    path: Path
    black: bool
    """Whether black pixels are left out, as in nerfstudio; else all that are not black, as in instant-ngp."""


@dataclass(frozen=True)
class PictureSource:
    """Where one picture of a scene comes from."""

    path: Path
    size: tuple[int, int]
    """Width and height of the file."""
    mask: Path | None = None
    """A gray picture that becomes its alpha."""
    excluded: Exclusion | None = None


def read_pictures(
    sources: Sequence[PictureSource], sizes: Sequence[tuple[int, int]]
) -> tuple[UInt8[Tensor, "n h w 4"], Bool[Tensor, "n h w"] | None]:
    """All pictures in one tensor, smaller ones in its top left corner, and which pixels take part.

    Args:
        sources: the files.
        sizes: width and height of each picture; made smaller by averaging areas where that is less than its own.

    Returns:
        The pictures, opaque outside of smaller ones; and which pixels belong to a picture and are not left out by a
        mask, None for all.

    Raises:
        SceneError: a file cannot be read, a mask has another size, or only some pictures have alpha.
    """
    width, height = (max(side) for side in zip(*sizes, strict=True))
    pictures = torch.zeros(len(sources), height, width, 4, dtype=torch.uint8)
    pictures[..., 3] = 255
    kept = torch.zeros(len(sources), height, width, dtype=torch.bool)
    transparent: dict[bool, Path] = {}
    for index, (source, (columns, rows)) in enumerate(zip(sources, sizes, strict=True)):
        array, with_alpha = _read(source.path, source)
        if source.mask is not None:
            array[..., 3] = _read_mask(source.mask, source)
        else:
            transparent.setdefault(with_alpha, source.path)
        pictures[index, :rows, :columns] = _smaller(torch.from_numpy(array), rows, columns)
        kept[index, :rows, :columns] = True
        if source.excluded is not None:
            gray = _read_mask(source.excluded.path, source)
            left_out = torch.from_numpy(gray == 0 if source.excluded.black else gray > 0)
            touched = adaptive_max_pool2d(left_out[None].float(), (rows, columns))[0] > 0
            kept[index, :rows, :columns] &= ~touched
    if len(transparent) == 2:
        raise SceneError(f"{transparent[True]} has alpha but {transparent[False]} has none; give all of them alpha")
    return pictures, None if kept.all() else kept


def _read(path: Path, source: PictureSource, *, is_mask: bool = False) -> tuple[np.ndarray, bool]:
    """A picture in sRGB, or the mask of one with its values as they are, as bytes [h, w, 4]; whether it has alpha."""
    with _open(path) as image:
        if image.size != source.size:
            found, wanted = ("x".join(map(str, size)) for size in (image.size, source.size))
            raise SceneError(f"{path} has {found} pixels but {source.path} has {wanted}; give the mask the same size")
        if is_deep(image):
            gray = eight_bits(image)
            return np.stack([gray, gray, gray, np.full_like(gray, 255)], axis=-1), False
        transparent = has_alpha(image)
        return np.array((image if is_mask else in_srgb(image)).convert("RGBA")), transparent


def _read_mask(path: Path, source: PictureSource) -> UInt8[np.ndarray, "h w"]:
    return _read(path, source, is_mask=True)[0][..., 0]


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
