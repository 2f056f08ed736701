"""The commands compress, decompress and info. Free of torch until one runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from .. import splats
from .options import CompressOptions, DecompressOptions, InfoOptions


@dataclass(frozen=True, kw_only=True)
class Threads:
    """How much of the CPU a command uses."""

    threads: int | None = None
    """Number of CPU threads; if not given, torch's own choice."""

    def use(self) -> None:
        """Set the number of threads, if one is given."""
        if self.threads is not None:
            if self.threads < 1:
                raise ValueError(f"threads must be at least 1, got {self.threads}")
            import torch

            torch.set_num_threads(self.threads)


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Write a picture, sound, video, volume or field as a small file; several of one kind become one pack."""

    files: Positional[tuple[Path, ...]]
    """Files to compress, and last the file to write. The ending of a file says its kind.
    A folder holds the frames of a video, or a field that train, distill or fit wrote."""
    options: Annotated[CompressOptions, tyro.conf.arg(name="")] = CompressOptions()
    bits: int | None = None
    """Fields only: bits of a weight, 2..8; if not given, those that the field was trained for."""
    cpu: Annotated[Threads, tyro.conf.arg(name="")] = Threads()

    def run(self) -> None:
        if len(self.files) < 2:
            raise ValueError("compress needs at least one file to read and the file to write; give both")
        self.cpu.use()
        from .files import compress

        *sources, output = self.files
        if (sources[0] / "report.json").is_file():
            self._compress_field(sources, output)
            return
        if self.bits is not None:
            raise ValueError("bits is for fields, folders that train, distill or fit wrote; leave it out")
        done = compress(sources[0] if len(sources) == 1 else list(sources), output, **vars(self.options))
        print(
            f"{output}\t{len(done.data)} bytes\t{done.bits_per_point:.4g} bits per point\tPSNR {done.psnr:.2f} dB"
            f"\t{done.seconds:.1f} s"
        )

    def _compress_field(self, sources: list[Path], output: Path) -> None:
        options = self.options
        if len(sources) > 1:
            raise ValueError(f"a field is compressed alone, got {sources[0]} and {sources[1]}; give one folder")
        refuse_changed(options, ("model", "target_psnr", "seconds"))
        from .field_files import compress_run

        compress_run(sources[0], output, bits=self.bits, target_bytes=options.target_bytes, overwrite=options.overwrite)
        print(f"{output}\t{output.stat().st_size} bytes")


@dataclass(frozen=True, kw_only=True)
class Decompress:
    """Turn a compressed file into a picture, sound, video, volume or field, or a pack into a folder of them."""

    options: Annotated[DecompressOptions, tyro.conf.arg(name="")]
    cpu: Annotated[Threads, tyro.conf.arg(name="")] = Threads()

    def run(self) -> None:
        self.cpu.use()
        options = self.options
        if holds_field(options.source):
            refuse_changed(options, ("model", "fast", "share", "region", "salvage"))
            from .field_files import decompress_field

            decompress_field(options.source, options.output, overwrite=options.overwrite)
        else:
            from .files import decompress

            region = None if options.region is None else numbers(options.region)
            given: dict[str, Any] = {**vars(options), "region": region}
            decompress(**given)
        print(options.output)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a compressed file, or a file of Gaussian splats, holds."""

    options: Annotated[InfoOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        from .overview import describe, describe_field

        if self.options.source.suffix.lower() in splats.ENDINGS:
            from ..splats.files import describe_splats

            refuse_changed(self.options, ("model",))
            found = describe_splats(self.options.source)
        elif holds_field(self.options.source):
            refuse_changed(self.options, ("model",))
            found = describe_field(self.options.source)
        else:
            found = describe(**vars(self.options))
        for name, value in found.items():
            print(f"{name}\t{value:.4g}" if isinstance(value, float) else f"{name}\t{value}")


Compression = (
    Annotated[Compress, tyro.conf.subcommand("compress")]
    | Annotated[Decompress, tyro.conf.subcommand("decompress")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def refuse_changed(options: CompressOptions | DecompressOptions | InfoOptions, names: Sequence[str]) -> None:
    """Refuse options that do nothing for a field.

    Raises:
        ValueError: one of these names has another value than its default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) != defaults[name]]
    if given:
        raise ValueError(
            f"{' and '.join(given)} cannot be used with a field; leave {'it' if len(given) == 1 else 'them'} out"
        )


def numbers(text: str) -> list[int]:
    """Whole numbers separated by commas.

    Raises:
        ValueError: there is something else in the text.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"region must be whole numbers separated by commas, got {text!r}") from None


def holds_field(path: Path) -> bool:
    """Whether a file holds a field."""
    from .container.field import is_field

    return path.is_file() and is_field(path.read_bytes())
