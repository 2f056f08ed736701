"""Volumes: arrays of three axes and any real type, coded between their least and their largest value."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt16

from mappers.files import replacing

from ..container.bitstream import EXTRA, Item, check_dims
from ..container.errors import PayloadError
from ..description import Box, Modality
from .modality import Datum, refuse_ending

TYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")
"""Types of values; their places stand in the file. Other real ones become the last."""
RANGE = struct.Struct("<Bdd")
"""Type, least and largest value."""


class VolumeCodec:
    """NumPy files and their values."""

    modality: Modality = "volume"
    steps = 65535
    endings = (".npy", ".npz")
    ending = ".npy"

    def read(self, path: Path) -> np.ndarray:
        """A file's array; of several the first of three axes.

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
        """Values between the least and the largest, [1, a, b, c].

        Raises:
            ValueError: it has not three axes, is empty, or has values that are not real and finite.
        """
        if media.ndim != 3 or not media.size or media.dtype.kind not in "buif":
            raise ValueError(f"a volume must be real numbers [a, b, c], got {media.dtype} {media.shape}")
        check_dims(media.shape)
        if not np.isfinite(media).all():
            raise ValueError("the volume has values that are not finite; replace them")
        kind = media.dtype.newbyteorder("<").str
        low, high = float(media.min()), float(media.max())
        unit = (media.astype(np.float64) - low) / ((high - low) or 1.0)
        extra = RANGE.pack(TYPES.index(kind) if kind in TYPES else len(TYPES) - 1, low, high)
        return Datum(torch.from_numpy(unit[None] - 0.5).float(), EXTRA, extra)

    def from_samples(self, samples: UInt16[np.ndarray, "1 a b c"], item: Item, box: Box) -> np.ndarray:
        """The volume of samples 0..65535.

        Raises:
            PayloadError: type or range are missing.
        """
        extra = item.extra if item.flags & EXTRA else RANGE.pack(TYPES.index("<f8"), 0.0, 1.0)
        if len(extra) != RANGE.size:
            raise PayloadError("the volume's range is missing; get an undamaged copy")
        kind, low, high = RANGE.unpack(extra)
        if kind >= len(TYPES) or not np.isfinite([low, high]).all() or high < low:
            raise PayloadError("the volume's type or range is damaged; get an undamaged copy")
        values = low + samples[0].astype(np.float64) * ((high - low) / self.steps)
        whole = np.dtype(TYPES[kind])
        return (np.rint(values) if whole.kind in "ui" else values).astype(whole)

    def write(self, media: np.ndarray, path: Path) -> None:
        """Write an array as .npy."""
        refuse_ending(path, (".npy",), "a volume")
        with replacing(path) as temporary:
            np.save(temporary, media, allow_pickle=False)
