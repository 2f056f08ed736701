"""The one reader of our files: numbers, sized parts, and how a file begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerf.compression.container import errors
from nerf.compression.container.binary import CHECKSUM, MAGIC, ByteReader, varint, with_checksum


@given(st.lists(st.integers(0, (1 << 62) - 1)))
def test_numbers_come_back(numbers: list[int]) -> None:
    reader = ByteReader(b"".join(map(varint, numbers)))
    assert [reader.varint() for _ in numbers] == numbers
    assert reader.left == 0


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\x80\x00", b"\xff" * 12])
def test_a_number_in_another_than_its_shortest_form_is_refused(data: bytes) -> None:
    with pytest.raises(errors.HeaderError, match="a variable-length integer is not in its shortest form"):
        ByteReader(data).varint()


def test_parts_have_their_size_before_them() -> None:
    reader = ByteReader(varint(3) + b"abc" + varint(300) + bytes(300) + b"rest")
    assert reader.sized() == b"abc"
    assert reader.sized() == bytes(300)
    assert reader.available(100) == b"rest"
    assert reader.available(1) == b""


def test_what_is_missing_is_named() -> None:
    for read in (lambda r: r.take(4), lambda r: r.integer(4), lambda r: r.sized(), lambda r: r.start(1)):
        with pytest.raises(errors.TruncatedError, match="truncated file: it ends after 3 bytes"):
            read(ByteReader(MAGIC[:3]))


def test_beginning_and_end_of_a_file() -> None:
    data = with_checksum(MAGIC + b"\x01content")
    reader = ByteReader(data)
    reader.start(1)
    reader.check_end(len("content") + CHECKSUM)
    assert reader.take(7) == b"content"
    reader.check_end(CHECKSUM)
    with pytest.raises(errors.TruncatedError, match="2 of its 18 bytes are missing"):
        reader.check_end(CHECKSUM + 2)
    with pytest.raises(errors.TrailingBytesError, match="1 bytes follow"):
        reader.check_end(CHECKSUM - 1)
    with pytest.raises(errors.VersionError, match="version 1, this program reads 2; update mapfield"):
        ByteReader(data).start(2)
    for other in (b"", b"PNG", b"GIF89a"):
        with pytest.raises(errors.NotCompressedError, match="does not begin with 'mfc'"):
            ByteReader(other).start(1)
    damaged = ByteReader(data[:8] + b"?" + data[9:])
    damaged.start(1)
    with pytest.raises(errors.ChecksumError, match="checksum does not match"):
        damaged.check_end(len("content") + CHECKSUM)
