"""Sounds, films and volumes of all types, rates and shapes."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from .values import damage

TYPES = ("u1", "i1", "i2", ">i2", "u2", "i4", "i8", "u8", "f2", "f4", ">f4", "f8", "?", "c8", "U3", "S2", "O", "M8[s]")
"""Types of numbers of a volume; the last ones are none."""
ALPHABET = "xyz"


def sound(rng: random.Random, folder: Path, stem: str) -> Path:
    """Write a sound file."""
    ending, kinds = rng.choice(
        (
            (".wav", ("PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE")),
            (".flac", ("PCM_16", "PCM_24")),
            (".ogg", ("VORBIS",)),
        )
    )
    rate = rng.choice((8000, 16_000, 16_000, 44_100, 1 if ending == ".wav" else 8000))
    count = rng.choice((0, 1, 100, 1600, 4000))
    channels = rng.choice((1, 1, 2, 6))
    samples = np.random.default_rng(rng.randrange(2**31)).normal(size=(count, channels)) * rng.choice((0, 0.1, 0.3, 5))
    if rng.random() < 0.1:
        samples[:] = rng.choice((np.nan, np.inf))
    if rng.random() < 0.1:
        samples[:, 1:] = -samples[:, :1]
    if ending == ".ogg":
        samples = np.nan_to_num(samples)
    path = folder / f"{stem}{rng.choice((ending, ending, ending, ending.upper(), '.mp3'))}"
    soundfile.write(path, samples, rate, subtype=rng.choice(kinds), format=ending[1:].upper())
    return damage(rng, path)


def film(rng: random.Random, folder: Path, stem: str, *, frames: int | None = None) -> Path:
    """Write a film, some with sound."""
    ending, codec = rng.choice(((".mp4", "libx264"), (".mkv", "ffv1"), (".mkv", "libx264"), (".mov", "mpeg4")))
    side = rng.choice(((16, 16), (32, 16), (2, 2), (18, 34)))
    path = folder / f"{stem}{rng.choice((ending, ending, ending, ending.upper(), '.webm', '.avi'))}"
    draws = np.random.default_rng(rng.randrange(2**31))
    rate = rng.choice((Fraction(5), Fraction(30000, 1001), Fraction(1, 2), Fraction(60)))
    with av.open(str(path), "w", format={".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}[ending]) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = side
        stream.pix_fmt = "yuv420p"
        heard = container.add_stream("aac", rate=16_000) if rng.random() < 0.3 else None
        for _ in range(rng.choice((1, 2, 5)) if frames is None else frames):
            shown = draws.integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
        if heard is not None:
            wave = (draws.normal(size=(1, 4096)) * 0.1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(heard.encode(frame))
            container.mux(heard.encode())
    return damage(rng, path)


def volume(rng: random.Random, folder: Path, stem: str) -> Path:
    """Write an array to a .npy or .npz file."""
    shape = rng.choice(((4, 4, 4), (3, 5, 7), (8, 8), (5,), (), (0, 3, 3), (1, 1, 1), (2, 3, 4, 5), (2, 2, 2, 2, 2)))
    kind = rng.choice(TYPES[:12] * 3 + TYPES[12:])
    with np.errstate(all="ignore"):
        draws = np.random.default_rng(rng.randrange(2**31)).normal(size=shape) * rng.choice((0, 1, 100, 1e30, 1e308))
        array = draws.astype("i8").astype(kind) if kind.startswith(("M", "U", "S")) else draws.astype(kind)
    if array.dtype.kind == "f" and array.size and rng.random() < 0.1:
        array.flat[0] = rng.choice((np.nan, np.inf, np.finfo(array.dtype).max))
    if rng.random() < 0.2:
        array = np.asfortranarray(array)
    path = folder / f"{stem}{rng.choice(('.npy', '.npy', '.npz'))}"
    if path.suffix == ".npy":
        np.save(path, array)
        if rng.random() < 0.05:
            with path.open("wb") as file:  # a header that claims more than is there
                claimed = {"descr": "<f4", "fortran_order": False, "shape": (10_000, 10_000, 10_000)}
                np.lib.format.write_array_header_1_0(file, claimed)
    else:
        np.savez(path, **{name: array for name in ALPHABET[: rng.randrange(1, 3)]})
    return damage(rng, path)
