"""The sound codecs that ours is compared with: MP3 (LAME) and Opus, through PyAV; only their packets are counted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from jaxtyping import Float

from benchmarks.common.curves import Point
from mappers.quality import psnr_of

LONGEST_DELAY = 4000
"""Samples by which a codec may delay a sound."""


@dataclass(frozen=True)
class SoundCodec:
    """A codec of FFmpeg's."""

    encoder: str
    container: str
    rate: int
    """Samples per second that it codes."""
    kilobits: Sequence[int]
    """Rates of its curve, kbit/s."""


CODECS = {
    "MP3": SoundCodec("libmp3lame", "mp3", 16000, (8, 16, 24, 32, 40, 48)),
    "Opus": SoundCodec("libopus", "ogg", 48000, (6, 8, 10, 12, 16, 24, 32)),
}


def sound_curve(wave: Float[np.ndarray, " n"], rate: int, name: str) -> list[Point]:
    """Bits per second and PSNR of a sound (-1..1, ``rate`` samples per second) at every rate of a codec."""
    return sorted(encode(wave, rate, CODECS[name], kilobits) for kilobits in CODECS[name].kilobits)


def encode(wave: Float[np.ndarray, " n"], rate: int, codec: SoundCodec, kilobits: int) -> Point:
    """Bits per second of a codec's packets, and PSNR of what they decode to."""
    file, size = io.BytesIO(), 0
    with av.open(file, "w", format=codec.container) as output:
        stream = output.add_stream(codec.encoder, rate=codec.rate, layout="mono")
        stream.bit_rate = 1000 * kilobits
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=codec.rate)
        parts = [*resampler.resample(frame), *resampler.resample(None)]
        for packet in [p for part in [*parts, None] for p in stream.encode(part)]:
            size += packet.size
            output.mux(packet)
    file.seek(0)
    with av.open(file) as source:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
        decoded = np.concatenate([part.to_ndarray()[0] for part in [*frames, *resampler.resample(None)]])
    return 8 * size * rate / len(wave), aligned_psnr(wave, decoded)


def aligned_psnr(wave: Float[np.ndarray, " n"], decoded: Float[np.ndarray, " m"]) -> float:
    """PSNR in dB over a range of 1, at the delay of up to `LONGEST_DELAY` samples at which the decoded sound fits."""
    padded = np.zeros(len(wave) + 2 * LONGEST_DELAY)
    decoded = decoded[: len(wave) + LONGEST_DELAY]
    padded[LONGEST_DELAY : LONGEST_DELAY + len(decoded)] = decoded
    size = 1 << (len(padded) + len(wave)).bit_length()
    match = np.fft.irfft(np.fft.rfft(padded, size) * np.fft.rfft(wave, size).conj(), size)
    delay = int(match[: 2 * LONGEST_DELAY].argmax())
    error = float(np.square((padded[delay : delay + len(wave)] - wave) / 2).mean())
    return psnr_of(error)
