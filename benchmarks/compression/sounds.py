"""Sounds beside MP3 and Opus: ``python -m benchmarks.compression.sounds --data DIR [--model sounds]``.

The first seconds of held-out recordings of ``DIR/speech`` and ``DIR/music`` at 16 kHz, a file each. Our sizes are those
of files; of MP3 and Opus only the packets count, which favours them. Quality is the mean PSNR over a range of 1, the
decoded sounds of the others moved to where they fit best; theirs at our sizes are read off their curves. Prints a table
and writes its results.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Float

from benchmarks.compression.pictures import Point, at
from nerf.compression import compress
from nerf.compression.learning.datasets import training_data
from nerf.compression.modalities.modality import Sound
from nerf.compression.modalities.sounds import RATE

ROOT = Path(__file__).parents[2]
RATES = (2500, 5000, 10000)
"""Bits per second of our files."""
OTHERS = {
    "MP3": ("libmp3lame", "mp3", RATE, (8, 16, 24, 32, 40, 48)),
    "Opus": ("libopus", "ogg", 48000, (6, 8, 10, 12, 16, 24, 32)),
}
"""Encoder, container, samples per second, and kbit/s."""
LONGEST_DELAY = 4000
"""Samples."""


def clips(data: Path, seconds: float, count: int | None) -> list[Float[np.ndarray, " n"]]:
    """Beginnings of held-out recordings that are long enough, -1..1."""
    length = int(seconds * RATE)
    whole = [2 * values[0].numpy() for values in training_data("sounds", data, held_out=True)]
    return [wave[:length] for wave in whole if len(wave) >= length][:count]


def coded(wave: Float[np.ndarray, " n"], name: str, kilobits: int) -> Point:
    """Bits per second and quality of another codec."""
    codec, container, rate, _ = OTHERS[name]
    file, size = io.BytesIO(), 0
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 1000 * kilobits
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        parts = [*resampler.resample(frame), *resampler.resample(None)]
        for packet in [p for part in [*parts, None] for p in stream.encode(part)]:
            size += packet.size
            output.mux(packet)
    file.seek(0)
    with av.open(file) as source:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
        decoded = np.concatenate([part.to_ndarray()[0] for part in [*frames, *resampler.resample(None)]])
    return 8 * size * RATE / len(wave), quality(wave, decoded)


def quality(wave: Float[np.ndarray, " n"], decoded: Float[np.ndarray, " m"]) -> float:
    """PSNR at the delay that fits best, dB."""
    padded = np.zeros(len(wave) + 2 * LONGEST_DELAY)
    decoded = decoded[: len(wave) + LONGEST_DELAY]
    padded[LONGEST_DELAY : LONGEST_DELAY + len(decoded)] = decoded
    size = 1 << (len(padded) + len(wave)).bit_length()
    match = np.fft.irfft(np.fft.rfft(padded, size) * np.fft.rfft(wave, size).conj(), size)
    delay = int(match[: 2 * LONGEST_DELAY].argmax())
    error = float(np.square((padded[delay : delay + len(wave)] - wave) / 2).mean())
    return -10 * np.log10(max(error, 1e-12))


def main() -> None:
    parser = argparse.ArgumentParser(description="Sounds beside MP3 and Opus.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds speech/ and music/")
    parser.add_argument("--model", default="sounds")
    parser.add_argument("--length", type=float, default=3.0, help="seconds of a clip")
    parser.add_argument("--count", type=int, default=None, help="clips; all when not given")
    parser.add_argument("--seconds", type=float, default=None, help="search of a clip; the default's when not given")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression" / "sounds.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    waves = clips(arguments.data, arguments.length, arguments.count)
    others = [{name: sorted(coded(w, name, k) for k in OTHERS[name][3]) for name in OTHERS} for w in waves]
    lines = []
    for rate in RATES:
        points = []
        for wave in waves:
            sound = Sound(wave[:, None].astype(np.float32), RATE)
            target = int(rate * len(wave) / RATE / 8)
            done = compress(sound, model=arguments.model, target_bytes=target, seconds=arguments.seconds)
            points.append((done.bits_per_point * RATE, done.psnr))
        row: dict[str, float | None] = dict(
            zip(("bits_per_second", "mapfield"), np.mean(points, 0).tolist(), strict=True)
        )
        for name in OTHERS:
            found = [at(curve[name], bits) for curve, (bits, _) in zip(others, points, strict=True)]
            row[name] = None if None in found else float(np.mean(found))
            row[f"{name} at least"] = float(np.mean([curve[name][0] for curve in others], 0)[0])
            row[f"{name} there"] = float(np.mean([curve[name][0] for curve in others], 0)[1])
        lines.append({name: None if value is None else round(value, 2) for name, value in row.items()})
        print(lines[-1], flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"clips": len(waves), "rows": lines}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
