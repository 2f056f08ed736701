"""Volumes: arrays of three axes and any real type, coded between their lowest and their highest value."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt16

from mappers.files import refuse_taken, replacing

from ..container.bitstream import EXTRA, Item, check_dims
from ..container.errors import PayloadError
from ..description import Box, Modality
from .modality import Datum, refuse_ending

TYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")
"""Types of values; a file has the index of its type. Volumes of other real types become the last."""
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
            loaded = np.load(path, allow_pickle=False)
            arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in loaded.files]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read as an array ({error}); give a whole .npy or .npz") from None
        for array in arrays:
            if array.ndim == 3:
                return array
        raise ValueError(f"{path} has no array of three axes; its shapes are {[array.shape for array in arrays]}")

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
        low, high = float(media.min()), float(media.max())
        unit = (media.astype(np.float64) - low) / ((high - low) or 1.0)
        extra = RANGE.pack(TYPES.index(dtype) if dtype in TYPES else len(TYPES) - 1, low, high)
        return Datum(torch.from_numpy(unit[None] - 0.5).float(), EXTRA, extra)

    def from_samples(self, samples: UInt16[np.ndarray, "1 a b c"], item: Item, box: Box) -> np.ndarray:
        """The volume of samples 0..65535.

        Raises:
            PayloadError: the type or the range is damaged.
        """
        extra = item.extra if item.flags & EXTRA else RANGE.pack(TYPES.index("<f8"), 0.0, 1.0)
        if len(extra) != RANGE.size:
            raise PayloadError("damaged content: the volume's range is incomplete; get an undamaged copy")
        index, low, high = RANGE.unpack(extra)
        if index >= len(TYPES) or not np.isfinite([low, high]).all() or high < low:
            raise PayloadError("damaged content: the volume's type or range is not possible; get an undamaged copy")
        values = low + samples[0].astype(np.float64) * ((high - low) / self.steps)
        dtype = np.dtype(TYPES[index])
        return (np.rint(values) if dtype.kind in "ui" else values).astype(dtype)

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse a name that does not end in .npy, and to replace a file."""
        refuse_ending(path, (".npy",), "a volume")
        refuse_taken(path, overwrite=overwrite)

    def write(self, media: np.ndarray, path: Path) -> None:
        """Write an array as .npy."""
        refuse_ending(path, (".npy",), "a volume")
        with replacing(path) as temporary:
            np.save(temporary, media, allow_pickle=False)
