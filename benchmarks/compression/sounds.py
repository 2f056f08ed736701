"""Sounds compared with MP3 and Opus: ``python -m benchmarks.compression.sounds --data DIR``.

The sounds are the first seconds of held-out recordings of ``DIR/speech`` and ``DIR/music`` at 16 kHz, a file each. Our
sizes are those of files; of MP3 and Opus only the packets count, which favours them. Quality is the mean PSNR over a
range of 1. The decoded sounds of MP3 and Opus are moved to where they fit best. Their PSNR at our sizes is read off
their curves; the tables also give the lowest rate that they reach and their PSNR there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.common.curves import OURS, psnr_at
from benchmarks.common.results import Results, Table, result_path, rounded
from benchmarks.common.sound_codecs import CODECS, sound_curve
from mappers.command_line import run_script
from nerf.compression import compress
from nerf.compression.learning.datasets import training_data
from nerf.compression.modalities.modality import Sound
from nerf.compression.modalities.sounds import RATE

OUTPUT = result_path(__file__)
RATES = (2500, 5000, 10000)
"""Bits per second of our files."""
Wave = Float[np.ndarray, " n"]


def main(*, data: Path, model: str = "sounds", length: float = 3.0, count: int | None = None,
         seconds: float | None = None, output: Path = OUTPUT) -> None:  # fmt: skip
    """Compress sounds and compare with MP3 and Opus.

    Args:
        data: Folder that holds speech/ and music/.
        model: Codec model.
        length: Seconds of a clip.
        count: Clips; all held-out ones when not given.
        seconds: Seconds of search for a clip; the default's when not given.
        output: Results.
    """
    torch.set_num_threads(1)
    waves = held_out_clips(data, length, count)
    results = Results(output, {"clips": len(waves)})
    curves = [{name: sound_curve(wave, RATE, name) for name in CODECS} for wave in waves]

    def measure(rate: int) -> dict[str, Any]:
        points = []
        for wave in waves:
            sound = Sound(wave[:, None].astype(np.float32), RATE)
            done = compress(sound, model=model, target_bytes=int(rate * len(wave) / RATE / 8), seconds=seconds)
            points.append((done.bits_per_point * RATE, done.psnr))
        bits, quality = np.mean(points, 0).tolist()
        row: dict[str, float | None] = {"bits_per_second": bits, OURS: quality}
        for name in CODECS:
            found = [psnr_at(curve[name], bits) for curve, (bits, _) in zip(curves, points, strict=True)]
            row[name] = None if None in found else float(np.mean(np.array(found, float)))
            row[f"{name}, lowest bits per second"], row[f"{name}, PSNR there"] = np.mean(
                [curve[name][0] for curve in curves], 0
            ).tolist()
        return {name: rounded(value) for name, value in row.items()}

    for rate in RATES:
        results.row(f"{rate} bits per second", lambda rate=rate: measure(rate))
    results.report(table(results.rows))


def table(rows: Mapping[str, Any]) -> Table:
    """A row for each rate; PSNR in dB."""
    columns = list(next(iter(rows.values())))
    lines = [[row[name] for name in columns] for row in rows.values()]
    return Table("Sounds of three seconds", [name.replace("_", " ") for name in columns], lines)


def held_out_clips(data: Path, seconds: float, count: int | None) -> list[Wave]:
    """Beginnings of held-out recordings that are long enough, -1..1."""
    length = int(seconds * RATE)
    whole = [2 * values[0].numpy() for values in training_data("sounds", data, held_out=True)]
    return [wave[:length] for wave in whole if len(wave) >= length][:count]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
