"""Every damage has a name: no flipped byte, no truncation and no absurd size gets through, or crashes."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nerf.compression.coding.indices import IndexCode, word_lengths
from nerf.compression.container import bitstream, errors
from nerf.compression.container.binary import MAGIC, varint, with_checksum
from nerf.compression.container.bitstream import EXTRA, GREY, Container, Item
from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import Compressed, compress, decompress
from nerf.compression.model.codec import CodecModel


def container(items: list[Item], *, pack: bool = False) -> Container:
    return Container("picture", b"01234567", 14, 1, items, pack)


def test_every_truncation_is_named(compressed: Compressed) -> None:
    for length in range(len(compressed.data)):
        with pytest.raises((errors.TruncatedError, errors.NotCompressedError)):
            bitstream.read(compressed.data[:length])


def test_every_flipped_byte_is_named(compressed: Compressed) -> None:
    for place in range(len(compressed.data)):
        for mask in (1, 128, 255):
            damaged = bytearray(compressed.data)
            damaged[place] ^= mask
            with pytest.raises(errors.CompressedFileError):
                decompress(bytes(damaged))


def test_trailing_bytes_are_refused(compressed: Compressed) -> None:
    with pytest.raises(errors.TrailingBytesError, match="1 bytes follow"):
        decompress(compressed.data + b"\0")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: b"GIF8" + d[4:], errors.NotCompressedError),
        (lambda d: d[:4] + b"\2" + d[5:], errors.VersionError),
        (lambda d: d[:15] + b"\1" + d[16:], errors.VersionError),
        (lambda d: with_checksum(d[:6] + b"no model" + d[14:-4]), errors.WrongModelError),
        (lambda d: with_checksum(d[:14] + b"\x0f" + d[15:-4]), errors.HeaderError),
        (lambda d: with_checksum(d[:16] + b"\x09" + d[17:-4]), errors.HeaderError),
        (lambda d: with_checksum(d[:5] + b"\x07" + d[6:-4]), errors.HeaderError),
        (lambda d: d[:-5] + bytes([d[-5] ^ 1]) + d[-4:], errors.ChecksumError),
        (lambda d: with_checksum(d[:-7] + bytes([d[-7] & 254]) + d[-6:-4]), errors.PayloadError),
        (lambda d: with_checksum(d[:-5] + bytes([d[-5] ^ 1])), errors.OtherSamplesError),
    ],
    ids=["magic", "version", "mode", "model", "candidates", "rate", "modality", "checksum", "payload", "samples"],
)
def test_each_damage_has_its_own_error(compressed: Compressed, change, error: type[Exception]) -> None:
    with pytest.raises(error):
        decompress(change(compressed.data))


@pytest.mark.parametrize("dims", [(0, 8), (1 << 30, 1), (1 << 20, 1 << 20), (1 << 62, 1 << 62)])
def test_absurd_sizes_are_refused_before_anything_is_allocated(dims: tuple[int, int]) -> None:
    data = container([Item((8, 8), 0, b"")]).write()
    shape = b"\0" + varint(dims[0]) + varint(dims[1])
    with pytest.raises(errors.DimensionsError):
        bitstream.read(with_checksum(data[:17] + shape + b"\0\0\0"))


def test_a_pack_that_names_more_than_it_holds_is_refused() -> None:
    start = MAGIC + b"\x01\x08" + b"01234567" + bytes([14, 0, 1])
    with pytest.raises(errors.DimensionsError):
        bitstream.read(with_checksum(start + varint(1 << 19) + varint(1 << 19) + b"\0\x08\x08\0"))
    with pytest.raises(errors.DimensionsError):
        bitstream.read(with_checksum(start + b"\x02" + b"\x03" + b"\0\x08\x08" + b"\0\0"))
    with pytest.raises(errors.HeaderError, match="sizes exceed"):
        bitstream.read(with_checksum(start + b"\x02" + b"\x02" + b"\0\x08\x08" + b"\x09" + b"\x01" + b"x\0\0"))


def test_containers_come_back_as_they_were_written() -> None:
    items = [Item((8, 9), 0, b"ab"), Item((8, 9), 0, b""), Item((300, 1), GREY | EXTRA, b"xyz", b"plane")]
    for whole in (container(items, pack=True), container(items[2:])):
        assert bitstream.read(whole.write()) == whole


def test_a_file_costs_a_header_and_a_pack_a_byte_for_each_item() -> None:
    single = container([Item((32, 32), 0, b"")]).write()
    assert len(single) == 27
    many = container([Item((32, 32), 0, b"x" * 64)] * 64, pack=True).write()
    assert len(many) - 64 * 64 == 27 + 2 + 63 + 1


@given(st.lists(st.integers(0, (1 << 14) - 1), max_size=60))
def test_indices_survive_and_end_by_themselves(indices: list[int]) -> None:
    code = IndexCode(word_lengths([2.0**e for e in range(14)] + [1.0]))
    data = code.encode(indices)
    assert code.decode(data, 1000) == (indices, True)
    assert len(data) == -(-sum(map(code.size, indices)) // 8)


def test_an_index_code_spends_few_bits_on_frequent_exponents() -> None:
    code = IndexCode(word_lengths([1.0] * 14 + [100.0]))
    assert code.lengths[14] == 1
    assert code.lengths[-1] == max(code.lengths)
    with pytest.raises(ValueError, match="complete"):
        IndexCode([1, 1, 1])


def test_a_transparency_plane_of_another_size_is_refused(
    tiny: CodecModel, picture: Callable[..., Image.Image], quick: EncodeConfig
) -> None:
    data = compress(picture(8, 8, "RGBA"), model="tiny", config=quick).data
    found = bitstream.read(data)
    for alpha in (zlib.compress(bytes(63)), zlib.compress(bytes(10**6)), b"not deflated"):
        item = Item((8, 8), EXTRA, found.items[0].payload, alpha)
        with pytest.raises(errors.PayloadError, match="transparency"):
            decompress(Container("picture", tiny.id, 14, 1, [item], samples=found.samples).write())
