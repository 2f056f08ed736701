"""Pictures from files, folders and arrays, as RGB."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mappers.files import files_in
from mappers.pictures import PHONE_ENDINGS, PICTURE_ENDINGS, opened, to_rgb

logger = logging.getLogger(__name__)

LARGEST = 100_000_000
"""Pixels of the largest picture that is read; a bigger one is most likely a mistake or an attack."""

Images = str | Path | Sequence[str | Path | Image.Image | np.ndarray]


def load_images(images: Images) -> list[Image.Image]:
    """Read pictures as RGB: EXIF rotation applied, transparency on white, 16 bits and gray widened.

    Files of a folder that are not pictures are left out; damaged ones, and pictures of formats that are not read
    (HEIC), are left out with a warning, as long as one good picture remains.

    Args:
        images: a folder, a file, or a sequence of files, PIL pictures or arrays [h, w], [h, w, 3 or 4]
            (bytes, 16 bits, or floats in [0, 1]).

    Raises:
        FileNotFoundError: a named file or folder does not exist.
        ValueError: nothing readable is left.
    """
    return _load(images, to_rgb)


def load_masks(masks: Images, images: Images, sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Read the masks of pictures as gray, white on the subject.

    Args:
        masks: as `load_images` takes pictures, in their order; or "alpha", the pictures' own transparency.
        images: the pictures.
        sizes: width and height of those that could be read.

    Raises:
        FileNotFoundError: a named file or folder does not exist.
        ValueError: masks and pictures do not fit together.
    """
    loaded = _load(images, _alpha) if isinstance(masks, str) and masks == "alpha" else _load(masks, _gray)
    if len(loaded) != len(sizes):
        raise ValueError(f"there are {len(loaded)} masks for {len(sizes)} pictures; give each picture one")
    for i, (mask, size) in enumerate(zip(loaded, sizes, strict=True)):
        if mask.size != size:
            found, wanted = (f"{w}x{h}" for w, h in (mask.size, size))
            raise ValueError(f"mask {i + 1} has {found} pixels, its picture {wanted}; make them the same size")
    return loaded


def _load(images: Images, convert: Callable[[Image.Image], Image.Image]) -> list[Image.Image]:
    sources, name = _sources(images)
    if not sources:
        raise ValueError(
            f"no pictures in {name}; give a folder or files of type {', '.join(PICTURE_ENDINGS)}, and convert others,"
            " such as .heic, to one of these"
        )
    loaded: list[Image.Image] = []
    problems: list[str] = []
    for source in sources:
        try:
            loaded.append(_read(source, convert))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if not loaded:
        raise ValueError(f"none of the pictures in {name} can be read: {problems[0]}")
    for problem in problems:
        logger.warning("left out: %s", problem)
    return loaded


def square(image: Image.Image, size: int) -> Image.Image:
    """The centred square of ``image`` at ``size`` pixels; proportions stay as they are."""
    return centred(image, (size, size))


def centred(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest centred part of ``image`` with the proportions of ``size`` (width and height), at that size."""
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def _sources(images: Images) -> tuple[list[Any], str]:
    if not isinstance(images, str | Path):
        return list(images), "the given list"
    path = Path(images).expanduser()
    if path.is_dir():
        files = files_in(path, PICTURE_ENDINGS)
        for child in files_in(path, PHONE_ENDINGS):
            logger.warning("left out: %s; this format is not read, convert it to JPEG or PNG", child)
        if not files:
            _refuse_pictures_in_subfolders(path)
        return list(files), f"the folder {path}"
    if not path.exists():
        raise FileNotFoundError(f"there is no folder or picture {path}")
    return [path], str(path)


def _refuse_pictures_in_subfolders(folder: Path) -> None:
    """Say where pictures are that a folder has not directly in it, as in kohya's layout.

    Raises:
        ValueError: a subfolder has some.
    """
    inside = [child for child in sorted(folder.glob("*/*")) if child.suffix.lower() in PICTURE_ENDINGS]
    if inside:
        raise ValueError(f"no pictures in the folder {folder} itself; {inside[0].parent} has some, so give that folder")


def _read(source: Any, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if isinstance(source, Image.Image):
        return convert(source)
    if isinstance(source, np.ndarray):
        return convert(_from_array(source))
    path = Path(source).expanduser()
    with opened(path) as image:
        if image.width * image.height > LARGEST:
            size = f"{image.width}x{image.height}"
            raise ValueError(f"{path} has {size} pixels, more than {LARGEST:,}; make it smaller")
        image.draft("RGB", (2048, 2048))  # lets a huge JPEG be decoded at a fraction of its size
        return convert(image)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        raise ValueError(f"an array must have the shape [h, w], [h, w, 3] or [h, w, 4], got {list(array.shape)}")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError("an array of floats must be finite and in [0, 1]; scale it, or use bytes")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an array must hold bytes, 16-bit numbers or floats in [0, 1], got {array.dtype}")
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _gray(image: Image.Image) -> Image.Image:
    return to_rgb(image).convert("L")


def _alpha(image: Image.Image) -> Image.Image:
    if "A" not in image.mode and "transparency" not in image.info:
        raise ValueError('a picture has no transparency; give masks as files instead of "alpha"')
    return ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")
