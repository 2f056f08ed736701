"""Options that `nerf.compression`'s functions share with the commands compress, decompress and info. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    """Arguments of `nerf.compression.compress`."""

    model: str | None = None
    """Name of a shipped codec model, or a folder; if not given, the shipped one for this kind of data.
    The model decides the method."""
    target_bytes: int | None = None
    """Largest size of the file in bytes.
    The file uses at least nine tenths of it, with grids 98 percent, or the command says that the highest rate has no
    use for more."""
    target_psnr: float | None = None
    """Write the smallest file that decodes to at least this PSNR in dB; of several files, their mean counts.
    A target that the model does not reach is refused after a short search."""
    seconds: float | None = None
    """Approximate time of the search in seconds; not for grids models."""
    effort: int | None = None
    """How long to search with a grids model: 0, one pass, to 9."""
    overwrite: bool = False
    """Replace a file that has the name of the file to write."""


@dataclass(frozen=True, kw_only=True)
class DecompressOptions:
    """Arguments of `nerf.compression.decompress`."""

    source: Positional[Path]
    """File that compress wrote."""
    output: Positional[Path]
    """File to write in a lossless format: .png, .wav, .mp4, .mkv (or a folder of frames), .npy.
    For a pack, a folder for 0000.png, 0001.png and so on."""
    model: str | None = None
    """Folder of the model that wrote the file; shipped models are found without it."""
    fast: bool = False
    """Decode in single precision: faster, but a value may differ by one between machines."""
    share: float = 1.0
    """Decode only this leading share of the file's indices, or of every tile's stream, 0..1: coarser.
    The rest keeps the mean of the prior, or is zero."""
    region: str | None = None
    """Decode only a part: x,y,width,height of a picture, or start,length of a sound.
    In general: offsets, then sizes along all axes, the last axis first."""
    salvage: bool = False
    """Decode the intact parts of a damaged or truncated file, and report the parts that are lost."""
    overwrite: bool = False
    """Replace a file that has the name of the file to write; write into a folder that has files in it."""


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Arguments of `nerf.compression.describe`."""

    source: Positional[Path]
    """File that compress wrote."""
    model: str | None = None
    """Folder of the model that wrote the file; shipped models are found without it."""
