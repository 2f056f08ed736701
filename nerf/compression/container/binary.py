"""The bytes that all our compressed files share: how they begin and end, and numbers of variable length.

A file begins with :data:`MAGIC` and a byte for the version of its layout; its last four bytes are the CRC-32 of all
bytes before. Numbers are little-endian.
"""

from __future__ import annotations

import zlib

from .errors import ChecksumError, HeaderError, NotCompressedError, TrailingBytesError, TruncatedError, VersionError

MAGIC = b"mfc\xb1"
"""The first bytes of a file; text never has the last one."""
CHECKSUM = 4
"""Bytes of the checksum."""


def varint(value: int) -> bytes:
    """A variable-length integer: seven bits a byte, lowest first; the highest bit of a byte says that more follow."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def with_checksum(data: bytes) -> bytes:
    """A file's bytes with the checksum at their end."""
    return data + zlib.crc32(data).to_bytes(CHECKSUM, "little")


class ByteReader:
    """Reads bytes from front to back."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    @property
    def left(self) -> int:
        """Number of bytes that are not read yet."""
        return len(self.data) - self.place

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            TruncatedError: there are fewer.
        """
        if count > self.left:
            raise TruncatedError(
                f"truncated file: it ends after {len(self.data)} bytes, within its content; get a whole copy of it"
            )
        return self.available(count)

    def available(self, count: int) -> bytes:
        """The next ``count`` bytes, or as many as there are."""
        start = self.place
        self.place += min(count, self.left)
        return self.data[start : self.place]

    def integer(self, size: int) -> int:
        """A number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        """A number that :func:`varint` wrote.

        Raises:
            HeaderError: it has more than nine bytes, or more than it needs.
        """
        value = 0
        for shift in range(0, 63, 7):
            byte = self.integer(1)
            value |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    break
                return value
        raise HeaderError(
            "damaged header: a variable-length integer is not in its shortest form; get an undamaged copy"
        )

    def sized(self) -> bytes:
        """Bytes with their number before them."""
        return self.take(self.varint())

    def start(self, *versions: int) -> int:
        """Read the first five bytes of a file.

        Args:
            versions: of the layouts that the caller reads.

        Returns:
            The file's version.

        Raises:
            NotCompressedError: the file does not begin like one of ours.
            VersionError: it has another layout.
        """
        if not self.data or self.data[: len(MAGIC)] != MAGIC[: len(self.data)]:
            raise NotCompressedError("this is not a file of `mapfield nerf compress`; it does not begin with 'mfc'")
        self.take(len(MAGIC))
        found = self.integer(1)
        if found not in versions:
            known = " and ".join(map(str, versions))
            raise VersionError(f"the file is of version {found}, this program reads {known}; update mapfield")
        return found

    def check_end(self, left: int) -> None:
        """Check that the file ends after ``left`` more bytes, with the right checksum.

        Raises:
            TruncatedError, TrailingBytesError, ChecksumError: it does not.
        """
        missing = left - self.left
        if missing > 0:
            size = len(self.data) + missing
            raise TruncatedError(f"truncated file: {missing} of its {size} bytes are missing; get a whole copy of it")
        if missing < 0:
            raise TrailingBytesError(f"{-missing} bytes follow the file's end; cut them off, or get an undamaged copy")
        if zlib.crc32(self.data[:-CHECKSUM]) != int.from_bytes(self.data[-CHECKSUM:], "little"):
            raise ChecksumError("damaged file: the checksum does not match the content; get an undamaged copy")
