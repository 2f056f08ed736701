"""What can be wrong with a compressed file: one exception for each kind of damage, each one clear sentence."""

from __future__ import annotations


class CompressedFileError(ValueError):
    """A file cannot be decompressed."""


class NotCompressedError(CompressedFileError):
    """The file does not begin like one of ours."""


class VersionError(CompressedFileError):
    """The file's format, or a way of coding in it, is newer than this program."""


class TruncatedError(CompressedFileError):
    """The file ends too early."""


class TrailingBytesError(CompressedFileError):
    """Something follows the end of the file's content."""


class DimensionsError(CompressedFileError):
    """The header asks for data larger than any that this program writes."""


class HeaderError(CompressedFileError):
    """The header contradicts itself."""


class ChecksumError(CompressedFileError):
    """The content is not what was written."""


class WrongModelError(CompressedFileError):
    """The file was written with another model."""


class PayloadError(CompressedFileError):
    """The indices do not end where the file says."""


class OtherSamplesError(CompressedFileError):
    """The samples that were decoded are not those that the file was written for."""
