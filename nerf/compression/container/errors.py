"""What can be wrong with a compressed file: an exception for each kind of damage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CompressedFileError(ValueError):
    """A file cannot be decompressed."""


class NotCompressedError(CompressedFileError):
    """The file does not begin like one of ours."""


class VersionError(CompressedFileError):
    """The file's format, or its way of coding indices, is unknown to this program."""


class TruncatedError(CompressedFileError):
    """The file ends too early."""


class TrailingBytesError(CompressedFileError):
    """Bytes follow the end of the file."""


class DimensionsError(CompressedFileError):
    """The header names more data than a file may hold."""


class HeaderError(CompressedFileError):
    """The header contradicts itself."""


class ChecksumError(CompressedFileError):
    """The checksum does not match the content."""


class WrongModelError(CompressedFileError):
    """The file was written with another model."""


class PayloadError(CompressedFileError):
    """The content of an item is damaged, though the checksum of the file matches."""


class OtherSamplesError(CompressedFileError):
    """The decoded samples differ from those that the file was written for."""


@contextmanager
def naming(source: bytes | str | Path) -> Iterator[None]:
    """Errors in the block name the file that is read, where ``source`` is not the bytes themselves.

    Raises:
        CompressedFileError: of the same class as the block's.
    """
    try:
        yield
    except CompressedFileError as error:
        if isinstance(source, bytes):
            raise
        raise type(error)(f"{source}: {error}") from error
