"""What can be compressed, and the protocol that the codec of a modality has to follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ..container.bitstream import Item
from ..description import Box, Modality


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording."""

    samples: Float[np.ndarray, "n channels"]
    """-1..1."""
    rate: int
    """Samples per second."""


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of one size."""

    frames: UInt8[np.ndarray, "n h w 3"]
    fps: int
    """Frames per second."""


Compressible = Image.Image | Sound | Video | np.ndarray
"""A picture, a sound, a video, or a volume [a, b, c] of any real type."""


@dataclass(frozen=True, eq=False)
class Datum:
    """Values for the network, and what a file keeps exactly."""

    values: Float[Tensor, "channels ..."]
    """-0.5..0.5."""
    flags: int = 0
    """Flags of the item in the file, see :mod:`nerf.compression.container.bitstream`."""
    extra: bytes = b""
    """A picture's transparency, a video's frame rate, a volume's type and range."""

    original: Float[np.ndarray, "channels ..."] | None = None
    """What was given, in units of decoded samples, where `values` differ from it; the PSNR is measured with it."""

    @property
    def dims(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(self.values.shape[1:])


class ModalityCodec(Protocol):
    """How data of one modality are read and written, and turned to values and back."""

    modality: Modality
    steps: int
    """Decoded samples are whole numbers from 0 to this, 255 or 65535."""
    ending: str
    """Ending of the files that a pack is decompressed to."""

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the files that can be read."""
        ...

    def read(self, path: Path) -> Compressible:
        """The content of a file.

        Raises:
            ValueError: it cannot be read; the message says why.
        """
        ...

    def to_datum(self, media: Any) -> Datum:
        """Values of what :meth:`read` returns.

        Raises:
            ValueError: the data cannot be coded; the message says why.
        """
        ...

    def from_samples(self, samples: np.ndarray, item: Item, box: Box) -> Compressible:
        """The inverse of :meth:`to_datum`, from the samples 0..steps of a box of an item, [channels, ...].

        If the item lacks what is kept exactly (`Item.extra`), a default is used.
        """
        ...

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse a path that :meth:`write` is not to write to; called before any work is done.

        Raises:
            ValueError: the file's ending is that of no lossless format; the message names the possible ones.
            FileExistsError: a file would be replaced, and ``overwrite`` is not set.
        """
        ...

    def write(self, media: Any, path: Path) -> None:
        """Write a file that :meth:`read` reads back without loss.

        Raises:
            ValueError: the file's ending is that of no lossless format; the message names the possible ones.
        """
        ...


def refuse_ending(path: Path, endings: tuple[str, ...], what: str) -> None:
    """Refuse a file that does not have one of these endings.

    Raises:
        ValueError: it does not; the message names the possible endings.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path} cannot be written as {what}; give a file that ends in {', '.join(endings)}")
