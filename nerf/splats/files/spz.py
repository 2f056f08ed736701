"""Niantic's ``.spz`` files: quantized planes of numbers, compressed with gzip (versions 2 and 3) or zstd (4).

Version 3 is written: more programs read it.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from mappers.extras import extra

from ...fields import FieldError
from ...fields.base import spherical_harmonics
from ...fields.splat import MOST_SPLATS
from .gaussians import Gaussians, logit_of_byte, sigmoid, to_byte

MAGIC, WRITTEN = 0x5053474E, 3
START = struct.pack("<I", MAGIC)
HEADER = struct.Struct("<IIIBBBB")
STREAMED = struct.Struct("<IIIBBBBI")
"""Header of version 4: after the flags the number of streams, and where the table of their sizes begins."""
FRACTION = 12
"""Bits behind the point of a coordinate, at most; large scenes have fewer."""
COLOR = 0.15
"""Scale of the constant harmonic in a byte."""
FINE, COARSE = 5, 4
"""Bits of the harmonics of degree 1, and of higher ones."""
FLIPPED = np.array([1.0, -1.0, -1.0])
"""From the axes of ``.ply`` files (y down, z forward) to those of ``.spz`` (y up, z backward)."""


def write_spz(gaussians: Gaussians) -> bytes:
    """The file's bytes, version 3."""
    n, k, _ = gaussians.harmonics.shape
    means = gaussians.means * FLIPPED
    largest = np.abs(means).max(initial=1e-9)
    fraction = int(np.clip(np.floor(np.log2((2**23 - 1) / largest)), 0, FRACTION))
    fixed = (means * 2**fraction).round().clip(-(2**23), 2**23 - 1).astype("<i4")
    positions = fixed.view(np.uint8).reshape(n, 3, 4)[:, :, :3]
    harmonics = gaussians.harmonics[:, 1:] * _parity(k)[1:, None]
    planes = [
        positions,
        to_byte(sigmoid(gaussians.opacity_logits) * 255),
        to_byte(gaussians.harmonics[:, 0] * (COLOR * 255) + 127.5),
        to_byte((gaussians.log_scales + 10) * 16),
        _pack_quaternions(gaussians.quaternions * np.array([1.0, *FLIPPED])),
        np.concatenate([_quantized(harmonics[:, :3], FINE), _quantized(harmonics[:, 3:], COARSE)], 1),
    ]
    header = HEADER.pack(MAGIC, WRITTEN, n, int(k**0.5) - 1, fraction, 1, 0)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = header + b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
    return packer.compress(body) + packer.flush()


def read_spz(path: Path) -> Gaussians:
    """The Gaussians of a file.

    Raises:
        FieldError: the file is damaged or of another version.
        MissingExtraError: a file of version 4 needs a package that is not installed.
    """
    data = path.read_bytes()
    version, n, degree, fraction, planes = (_streams if data[:4] == START else _one_stream)(data, path)
    position, alpha, color, scale, rotation, rest = (
        np.frombuffer(plane, np.uint8).reshape(n, width)
        for plane, width in zip(planes, _widths(version, degree), strict=True)
    )
    k = (degree + 1) ** 2
    fixed = np.zeros((n, 3, 4), np.uint8)
    fixed[:, :, 1:] = position.reshape(n, 3, 3)
    means = fixed.reshape(n, 12).view("<i4") / 2.0**8 / 2.0**fraction
    constant = (color / 255.0 - 0.5)[:, None] / COLOR
    harmonics = (rest.reshape(n, k - 1, 3) - 128.0) / 128 * _parity(k)[1:, None]
    quaternions = _first_three(rotation) if version == 2 else _smallest_three(rotation)
    return Gaussians(
        means * FLIPPED, scale / 16.0 - 10, quaternions * np.array([1.0, *FLIPPED]), logit_of_byte(alpha[:, 0]),
        np.concatenate([constant, harmonics], 1),
    )  # fmt: skip


def _widths(version: int, degree: int) -> tuple[int, ...]:
    """Bytes of a Gaussian in each plane."""
    return 9, 1, 3, 3, 3 if version == 2 else 4, 3 * ((degree + 1) ** 2 - 1)


def _check_header(path: Path, version: int, known: tuple[int, ...], n: int, degree: int, fraction: int) -> None:
    if version not in known:
        raise FieldError(f"{path} is version {version} of .spz, and versions 2 to 4 are read; convert it to .ply")
    if degree > 3 or n > MOST_SPLATS or fraction > 23:
        raise FieldError(
            f"{path} claims {n} Gaussians of degree {degree}; at most {MOST_SPLATS} of degree 3 are read;"
            " export it again"
        )


def _one_stream(data: bytes, path: Path) -> tuple[int, int, int, int, list[bytes]]:
    """Version, count, degree, fraction and planes of versions 2 and 3: all in one stream of gzip."""
    unpacker = zlib.decompressobj(31)
    try:
        header = unpacker.decompress(data, HEADER.size)
        magic, version, n, degree, fraction, _, _ = HEADER.unpack(header)
    except (zlib.error, struct.error) as error:
        raise FieldError(f"{path} is not an .spz file ({error}); copy or export it again") from error
    _check_header(path, version if magic == MAGIC else 0, (2, 3), n, degree, fraction)
    sizes = [n * width for width in _widths(version, degree)]
    try:
        body = unpacker.decompress(unpacker.unconsumed_tail, sum(sizes) + 1)
    except zlib.error as error:
        raise FieldError(f"{path} is damaged ({error}); copy or export it again") from error
    if len(body) != sum(sizes):
        raise FieldError(
            f"{path} does not hold what its header says: {n} Gaussians need {sum(sizes)} bytes, and there are"
            f" {'more' if len(body) > sum(sizes) else len(body)}; copy or export it again"
        )
    ends = np.cumsum([0, *sizes]).tolist()
    return version, n, degree, fraction, [body[a:b] for a, b in pairwise(ends)]


def _streams(data: bytes, path: Path) -> tuple[int, int, int, int, list[bytes]]:
    """Version, count, degree, fraction and planes of version 4: one stream of zstd for each plane."""
    with extra("fields"):
        import zstandard
    try:
        _, version, n, degree, fraction, _, streams, table = STREAMED.unpack_from(data)
        _check_header(path, version, (4,), n, degree, fraction)
        sizes = [n * width for width in _widths(version, degree)]
        entries = [struct.unpack_from("<QQ", data, table + 16 * index) for index in range(streams)]
        start, planes = table + 16 * streams, []
        # Where there is nothing but the constant colour, the last plane may be left out.
        claimed = [size for _, size in entries] + [0] * (len(sizes) - streams)
        if claimed != sizes:
            raise ValueError(f"its planes have other sizes than {n} Gaussians need")
        for packed, size in entries:
            part = data[start : start + packed]
            planes.append(zstandard.ZstdDecompressor().decompress(part, max_output_size=size) if size else b"")
            start += packed
        planes += [b""] * (len(sizes) - streams)
        if [len(plane) for plane in planes] != sizes or start != len(data):
            raise ValueError("a plane is cut off")
    except (struct.error, zstandard.ZstdError) as error:
        raise FieldError(f"{path} is damaged ({error}); copy or export it again") from error
    except FieldError:
        raise
    except ValueError as error:
        raise FieldError(f"{path} does not hold what its header says: {error}; copy or export it again") from error
    return version, n, degree, fraction, planes


def _parity(k: int) -> np.ndarray:
    """The sign of each harmonic under `FLIPPED`."""
    at = torch.nn.functional.normalize(torch.tensor([[0.3, 0.5, 0.7]], dtype=torch.float64), dim=-1)
    there = spherical_harmonics(at * torch.from_numpy(FLIPPED), int(k**0.5))
    return (there / spherical_harmonics(at, int(k**0.5))).round()[0].numpy()


def _quantized(values: np.ndarray, bits: int) -> np.ndarray:
    """Bytes around 128, rounded to the middles of steps of 2^(8 - bits)."""
    step = 2 ** (8 - bits)
    whole = (values * 128).round().astype(np.int64) + 128
    return ((whole + step // 2) // step * step).clip(0, 255).astype(np.uint8)


def _pack_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Four bytes: which of x, y, z, w is largest, and the other three as a sign and nine bits each."""
    xyzw = np.roll(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, axis=-1)
    largest = np.abs(xyzw).argmax(-1)
    xyzw = xyzw * np.where(np.take_along_axis(xyzw, largest[:, None], -1) < 0, -1.0, 1.0)
    packed = largest.astype(np.uint32)
    for index in range(4):
        value = xyzw[:, index]
        magnitude = (511 * np.abs(value) * np.sqrt(2) + 0.5).astype(np.uint32).clip(0, 511)
        with_this = (packed << 10) | ((value < 0).astype(np.uint32) << 9) | magnitude
        packed = np.where(largest == index, packed, with_this).astype(np.uint32)
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _smallest_three(data: np.ndarray) -> np.ndarray:
    """Quaternions w, x, y, z of what `_pack_quaternions` wrote."""
    packed = np.ascontiguousarray(data).view("<u4")[:, 0].astype(np.int64)
    largest = packed >> 30
    xyzw = np.zeros((len(packed), 4))
    for index in (3, 2, 1, 0):
        value = np.where(packed & 512, -1.0, 1.0) * (packed & 511) / 511 / np.sqrt(2)
        xyzw[:, index] = np.where(largest == index, 0.0, value)
        packed = np.where(largest == index, packed, packed >> 10)
    rest = np.sqrt((1 - np.square(xyzw).sum(-1)).clip(0))
    np.put_along_axis(xyzw, largest[:, None], rest[:, None], -1)
    return np.roll(xyzw, 1, axis=-1)


def _first_three(data: np.ndarray) -> np.ndarray:
    """Quaternions w, x, y, z of version 2: x, y and z in a byte each."""
    xyz = data / 127.5 - 1
    return np.concatenate([np.sqrt((1 - np.square(xyz).sum(-1, keepdims=True)).clip(0)), xyz], -1)
