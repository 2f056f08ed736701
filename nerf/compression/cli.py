"""The commands ``python -m nerf compress``, ``decompress`` and ``info``. Free of torch until one runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Write a picture as a small file; several pictures and an output make one pack."""

    files: Positional[tuple[Path, ...]]
    """Pictures, then the file to write."""
    model: str = "pictures32"
    """A shipped codec model (pictures32, tiny) or a folder."""
    target_bytes: int | None = None
    """Largest size of the file; at least nine tenths of it are used."""
    target_psnr: float | None = None
    """Write the smallest file that decodes to so many dB."""
    seconds: float | None = None
    """About how long to search."""
    threads: int | None = None
    """CPU threads; torch's own choice when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        if len(self.files) < 2:
            raise ValueError("compress needs at least one picture and the file to write; give both")
        use_threads(self.threads)
        from .files import compress

        *sources, output = self.files
        done = compress(
            sources[0] if len(sources) == 1 else sources, output, model=self.model, target_bytes=self.target_bytes,
            target_psnr=self.target_psnr, seconds=self.seconds,
        )  # fmt: skip
        print(
            f"{output}\t{len(done.data)} bytes\t{done.bits_per_pixel:.4g} bits per pixel\tPSNR {done.psnr:.2f} dB"
            f"\t{done.seconds:.1f} s"
        )


@dataclass(frozen=True, kw_only=True)
class Decompress:
    """Turn a compressed file into a picture, or a pack into a folder of pictures."""

    file: Positional[Path]
    """A file that compress wrote."""
    output: Positional[Path]
    """Picture to write (its ending chooses the format); of a pack, a folder."""
    model: str | None = None
    """Folder of the model that wrote the file; shipped ones are found by themselves."""
    fast: bool = False
    """Single precision: quicker, but a value may differ by one from machine to machine."""
    share: float = 1.0
    """Decode only this leading share of the file's indices: a coarser picture."""
    threads: int | None = None
    """CPU threads; torch's own choice when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        use_threads(self.threads)
        from .files import decompress

        decompress(self.file, self.output, model=self.model, fast=self.fast, share=self.share)
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
        from .files import describe

        for name, value in describe(self.file, model=self.model).items():
            print(f"{name}\t{value:.4g}" if isinstance(value, float) else f"{name}\t{value}")


Compression = (
    Annotated[Compress, tyro.conf.subcommand("compress")]
    | Annotated[Decompress, tyro.conf.subcommand("decompress")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def use_threads(count: int | None) -> None:
    """Let torch use so many threads."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
