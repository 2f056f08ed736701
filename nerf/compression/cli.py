"""The commands ``python -m nerf compress``, ``decompress`` and ``info``. Free of torch until one runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Write a picture, sound, video, volume or field as a small file; several of a kind make one pack."""

    files: Positional[tuple[Path, ...]]
    """What to compress, then the file to write. The ending says the kind; a folder holds a video's frames, or a field
    that train, distill or fit left there."""
    model: str | None = None
    """A shipped codec model or a folder; by the kind of the data when not given."""
    target_bytes: int | None = None
    """Largest size of the file; at least nine tenths of it are used."""
    target_psnr: float | None = None
    """Write the smallest file that decodes to so many dB."""
    seconds: float | None = None
    """About how long to search."""
    bits: int | None = None
    """Fields: bits of a weight, 2..8; what it was trained for when not given."""
    threads: int | None = None
    """CPU threads; torch's own choice when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        if len(self.files) < 2:
            raise ValueError("compress needs at least one file to read and the file to write; give both")
        use_threads(self.threads)
        from .files import compress

        *sources, output = self.files
        if (sources[0] / "report.json").is_file():
            self._compress_field(sources, output)
            return
        if self.bits is not None:
            raise ValueError("bits is for fields, folders that train, distill or fit wrote; leave it out")
        done = compress(
            sources[0] if len(sources) == 1 else list(sources), output, model=self.model,
            target_bytes=self.target_bytes, target_psnr=self.target_psnr, seconds=self.seconds,
        )  # fmt: skip
        print(
            f"{output}\t{len(done.data)} bytes\t{done.bits_per_point:.4g} bits per point\tPSNR {done.psnr:.2f} dB"
            f"\t{done.seconds:.1f} s"
        )

    def _compress_field(self, sources: list[Path], output: Path) -> None:
        if len(sources) > 1 or self.model or self.target_psnr or self.seconds:
            raise ValueError("of a field, compress takes one folder, bits and target_bytes; leave out the rest")
        from .field_files import compress_run

        compress_run(sources[0], output, bits=self.bits, target_bytes=self.target_bytes)
        print(f"{output}\t{output.stat().st_size} bytes")


@dataclass(frozen=True, kw_only=True)
class Decompress:
    """Turn a compressed file into a picture, sound, video, volume or field, or a pack into a folder of them."""

    file: Positional[Path]
    """A file that compress wrote."""
    output: Positional[Path]
    """File to write, its ending one without loss: .png, .wav, .mp4, .mkv (or a folder of frames), .npy; of a pack, a
    folder."""
    model: str | None = None
    """Folder of the model that wrote the file; shipped ones are found by themselves."""
    fast: bool = False
    """Single precision: quicker, but a value may differ by one from machine to machine."""
    share: float = 1.0
    """Decode only this leading share of the file's indices: coarser."""
    region: str | None = None
    """Decode only a part: x,y,width,height of a picture, start,length of a sound; offsets, then sizes along all
    axes, the last axis first."""
    salvage: bool = False
    """Decode what is intact of a damaged or truncated file, and say what is not."""
    threads: int | None = None
    """CPU threads; torch's own choice when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        use_threads(self.threads)
        from .field_files import decompress_field
        from .files import decompress

        if holds_field(self.file):
            decompress_field(self.file, self.output)
            print(self.output)
            return
        decompress(
            self.file, self.output, model=self.model, fast=self.fast, share=self.share,
            region=None if self.region is None else numbers(self.region), salvage=self.salvage,
        )  # fmt: skip
        print(self.output)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a compressed file holds."""

    file: Positional[Path]
    """A file that compress wrote."""
    model: str | None = None
    """Folder of the model that wrote the file; shipped ones are found by themselves."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .field_files import describe_field
        from .files import describe

        if holds_field(self.file):
            found = describe_field(self.file.read_bytes())
        else:
            found = describe(self.file, model=self.model)
        for name, value in found.items():
            print(f"{name}\t{value:.4g}" if isinstance(value, float) else f"{name}\t{value}")


Compression = (
    Annotated[Compress, tyro.conf.subcommand("compress")]
    | Annotated[Decompress, tyro.conf.subcommand("decompress")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def numbers(text: str) -> list[int]:
    """Whole numbers between commas.

    Raises:
        ValueError: there is something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"region must be whole numbers with commas between them, got {text!r}") from None


def holds_field(path: Path) -> bool:
    """Whether a file holds a field."""
    from .field_files import is_field

    return path.is_file() and is_field(path.read_bytes())


def use_threads(count: int | None) -> None:
    """Let torch use so many threads."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
