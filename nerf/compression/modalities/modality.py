"""What the codec takes and gives back, and what every kind of data has to offer for it."""

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


@dataclass(frozen=True)
class Datum:
    """Values for the network, and what a file keeps exactly beside them."""

    values: Float[Tensor, "channels ..."]
    """-0.5..0.5."""
    flags: int = 0
    """Of the item in the file."""
    extra: bytes = b""
    """A picture's transparency, a video's frame rate, a volume's type and range."""

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])


class ModalityCodec(Protocol):
    """One kind of data: how its files are read and written, and its range of values."""

    modality: Modality
    steps: int
    """Decoded samples are whole numbers from 0 to this, 255 or 65535."""
    ending: str
    """Of the files that a pack becomes."""

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the files that can be read."""
        ...

    def read(self, path: Path) -> Compressible:
        """A file's content; ValueError says why it cannot be read."""
        ...

    def to_datum(self, media: Any) -> Datum:
        """Values of what :meth:`read` gives."""
        ...

    def from_samples(self, samples: np.ndarray, item: Item, box: Box) -> Compressible:
        """The inverse of :meth:`to_datum`, from the samples 0..steps of a box of an item, [channels, ...].

        Without the item's extra, something usual takes its place.
        """
        ...

    def write(self, media: Any, path: Path) -> None:
        """Write a file that :meth:`read` reads back without a loss; ValueError names the endings that are possible."""
        ...


def refuse_ending(path: Path, endings: tuple[str, ...], what: str) -> None:
    """Refuse files of other endings before anything is computed for them.

    Raises:
        ValueError: naming those that are possible.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path} cannot be written as {what}; give a file that ends in {', '.join(endings)}")
