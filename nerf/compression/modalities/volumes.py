"""Volumes: arrays of three axes and any real type, coded between their lowest and their highest value."""

from __future__ import annotations

import logging
import math
import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Float, UInt16

from mappers.files import DAMAGED_ARRAY, refuse_taken, replacing

from ..container.bitstream import EXTRA, Item, check_dims
from ..container.errors import DimensionsError, PayloadError
from ..description import Box, Modality
from .modality import Datum, refuse_ending

logger = logging.getLogger(__name__)

TYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8", "|b1", "<i8", "<u8", "<f2")
"""Types of values; a file has the index of its type. Volumes of floats of more than 64 bits become `WIDEST`."""
WIDEST = TYPES.index("<f8")
RANGE = struct.Struct("<Bdd")
"""Index of the type, lowest and highest value."""


class VolumeCodec:
    """Codec of volumes, from NumPy files."""

    modality: Modality = "volume"
    steps = 65535
    endings = (".npy", ".npz")
    ending = ".npy"

    def read(self, path: Path) -> np.ndarray:
        """The array of a file; of several arrays, the first with three axes.

        Raises:
            ValueError: it is damaged or has no such array.
        """
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        try:
            shapes = _shapes(path)
            name = next((name for name, shape in shapes.items() if len(shape) == 3), None)
            if name is None:
                raise ValueError(f"the shapes in it are {list(shapes.values())}")
            check_dims(shapes[name])
            with path.open("rb") as file:
                loaded = np.load(file, allow_pickle=False)
                return loaded if isinstance(loaded, np.ndarray) else loaded[name]
        except DimensionsError as error:
            raise ValueError(f"{path} is too large: {error}") from None
        except DAMAGED_ARRAY as error:
            raise ValueError(
                f"{path} cannot be read as an array of three axes ({error}); give a whole .npy or .npz, and several"
                " volumes as several files"
            ) from None

    def to_datum(self, media: np.ndarray) -> Datum:
        """Values between the lowest and the highest, [1, a, b, c].

        Raises:
            ValueError: it does not have three axes, is empty, or has values that are not real and finite.
        """
        if media.ndim != 3 or not media.size or media.dtype.kind not in "buif":
            raise ValueError(f"a volume must be real numbers [a, b, c], got {media.dtype} {media.shape}")
        check_dims(media.shape)
        if not np.isfinite(media).all():
            raise ValueError("the volume has values that are not finite; replace them")
        dtype = media.dtype.newbyteorder("<").str
        if dtype not in TYPES:
            logger.warning("the volume's values are %s and are kept as float64", media.dtype)
        low, high = float(media.min()), float(media.max())
        if not math.isfinite(high - low):
            raise ValueError(f"the volume's values span {low:g} to {high:g}, which is too much for float64; scale them")
        unit = (media.astype(np.float64) - low) / ((high - low) or 1.0)
        extra = RANGE.pack(TYPES.index(dtype) if dtype in TYPES else WIDEST, low, high)
        return Datum(torch.from_numpy(unit[None] - 0.5).float(), EXTRA, extra)

    def from_samples(self, samples: UInt16[np.ndarray, "1 a b c"], item: Item, box: Box) -> np.ndarray:
        """The volume of samples 0..65535.

        Raises:
            PayloadError: the type or the range is damaged.
        """
        extra = item.extra if item.flags & EXTRA else RANGE.pack(WIDEST, 0.0, 1.0)
        if len(extra) != RANGE.size:
            raise PayloadError("damaged content: the volume's range is incomplete; get an undamaged copy")
        index, low, high = RANGE.unpack(extra)
        if index >= len(TYPES) or not np.isfinite([low, high]).all() or high < low:
            raise PayloadError("damaged content: the volume's type or range is not possible; get an undamaged copy")
        values = low + samples[0].astype(np.float64) * ((high - low) / self.steps)
        return _of_type(values, np.dtype(TYPES[index]))

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse a name that does not end in .npy, and to replace a file."""
        refuse_ending(path, (".npy",), "a volume")
        refuse_taken(path, overwrite=overwrite)

    def write(self, media: np.ndarray, path: Path) -> None:
        """Write an array as .npy."""
        refuse_ending(path, (".npy",), "a volume")
        with replacing(path) as temporary:
            np.save(temporary, media, allow_pickle=False)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of a file by name, from their headers alone: an array may claim to be of any size."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            return {"": _shape(file)}
    with zipfile.ZipFile(path) as archive:
        shapes = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                shapes[name.removesuffix(".npy")] = _shape(file)
        return shapes


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[0]


def _of_type(values: Float[np.ndarray, "a b c"], dtype: np.dtype) -> np.ndarray:
    """Values as the nearest ones of a type. The largest whole numbers of 64 bits are no doubles."""
    if dtype.kind == "f":
        return values.astype(dtype)
    whole = np.rint(values)
    if dtype.kind == "b":
        return whole > 0
    limits = np.iinfo(dtype)
    found = whole.clip(limits.min, np.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max)
    return found.astype(dtype)
