"""Chunks of indices: each can be checked and found without the others."""

from __future__ import annotations

import random

import pytest

from nerf.compression.coding.indices import IndexCode, word_lengths
from nerf.compression.container.chunks import CHUNK, HEAD, MISSING, join, split

CODE = IndexCode(word_lengths([2.0**e for e in range(14)] + [1.0]))
SEED = b"model and shape"


@pytest.fixture(scope="module")
def indices() -> list[int]:
    draws = random.Random(0)
    return [draws.randrange(1 << draws.randrange(1, 14)) for _ in range(5000)]


def test_few_indices_cost_nothing_more(indices: list[int]) -> None:
    data = join(CODE, indices[:500], SEED)
    assert data == CODE.encode(indices[:500])
    assert split(CODE, data, 10**6, b"any seed") == (indices[:500], True)
    assert split(CODE, b"", 10, SEED) == ([], True)


def test_many_indices_survive_at_a_price_of_one_part_in_two_hundred(indices: list[int]) -> None:
    data = join(CODE, indices, SEED)
    assert split(CODE, data, len(indices), SEED) == (indices, True)
    assert split(CODE, data, 10**6, SEED) == (indices, True)
    assert len(CODE.encode(indices)) < len(data) < 1.005 * len(CODE.encode(indices)) + HEAD
    assert len(data) > 2 * CHUNK


@pytest.mark.parametrize("place", [0, 1, 3, 700, CHUNK - 1])
@pytest.mark.parametrize("chunk", [0, 1, -1])
def test_of_a_damaged_chunk_nothing_else_is_lost(indices: list[int], place: int, chunk: int) -> None:
    data = bytearray(join(CODE, indices, SEED))
    start = (len(data) - 1) // CHUNK * CHUNK if chunk < 0 else chunk * CHUNK
    at = min(start + place, len(data) - 1)
    data[at] ^= 16
    found, intact = split(CODE, bytes(data), len(indices), SEED)
    assert not intact
    assert all(a in (b, MISSING) for a, b in zip(found, indices, strict=False))
    kept = sum(index != MISSING for index in found)
    assert kept > 0.5 * len(indices)
    assert kept < len(indices)


@pytest.mark.parametrize("length", [0, 1, 5, 300, CHUNK, CHUNK + 3, CHUNK + 900])
def test_of_a_cut_stream_all_before_the_cut_is_found(indices: list[int], length: int) -> None:
    data = join(CODE, indices, SEED)
    found, intact = split(CODE, data[:length], len(indices), SEED, missing=len(data) - length)
    assert not intact
    assert found == indices[: len(found)]
    assert len(found) > 0.9 * len(indices) * length / len(data) - 20


def test_chunks_of_another_shape_are_refused(indices: list[int]) -> None:
    found, intact = split(CODE, join(CODE, indices, SEED), len(indices), b"another shape")
    assert not intact
    assert found == []
