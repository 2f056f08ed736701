"""Our search compared with the published schedule: ``python -m benchmarks.compression.schedule --data DIR``.

The official encoder of RECOMBINER takes 30,000 steps at a learning rate of 2e-4, then codes one block at a time with
30,000 more steps shared among the blocks. It averages five samples a step; here a step has one, which favours it. Both
schedules run in our encoder with the same model, on the same held-out 32x32 pictures of ``DIR/natural32``, to files of
the same bytes. The last rows compare our search of 64 single pictures with that of all 64 in one pack. One thread;
seconds are the processor's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common.results import Results, Table, result_path
from benchmarks.compression.pictures import held_out_pictures
from mappers.command_line import run_script
from nerf.compression import compress
from nerf.compression.encoder import EncodeConfig

OUTPUT = result_path(__file__)
TARGET = 96
"""Bytes of a picture's file."""
HEADER = 27
"""Bytes of such a file that are no indices."""
BLOCKS = 40
"""About as many as such a file has; the official encoder codes them one by one."""
STEPS = 30_000
OFFICIAL = EncodeConfig(steps=STEPS, rounds=BLOCKS, round_steps=STEPS // BLOCKS, learning_rate=2e-4)
TOGETHER = 64


def measure(groups: list[list[Image.Image]], config: EncodeConfig | None, target: int) -> dict[str, Any]:
    """Every group in a file of its own: means over all pictures."""
    seconds, sizes, quality = 0.0, [], []
    for group in groups:
        start = time.process_time()
        done = compress(group if len(group) > 1 else group[0], model="pictures32", target_bytes=target, config=config)
        seconds += time.process_time() - start
        sizes.append(len(done.data) / len(group))
        quality.append(done.psnr)
    return {
        "pictures": sum(map(len, groups)),
        "bytes": round(float(np.mean(sizes)), 1),
        "psnr": round(float(np.mean(quality)), 2),
        "seconds": round(seconds / sum(map(len, groups)), 2),
    }


def main(*, data: Path, pictures: int = 1, output: Path = OUTPUT) -> None:
    """Compare our search for a file with the published schedule.

    Args:
        data: Folder that holds natural32/.
        pictures: Pictures that the published schedule encodes; about ten minutes each.
        output: Results.
    """
    torch.set_num_threads(1)
    results = Results(output, {"schedule": [STEPS, BLOCKS, STEPS // BLOCKS]})
    all_of_them = [Image.fromarray(picture) for picture in held_out_pictures(data, TOGETHER)]
    single = [[picture] for picture in all_of_them]
    few = single[:pictures]
    measure(single[:1], None, TARGET)  # loads the model
    results.row("ours", lambda: measure(few, None, TARGET))
    results.row("published", lambda: measure(few, OFFICIAL, TARGET))
    results.row(f"ours, {TOGETHER} pictures", lambda: measure(single, None, TARGET))
    # A pack's header is shared: its items get what a picture alone had for its indices.
    results.row(f"ours, {TOGETHER} at once", lambda: measure([all_of_them], None, TOGETHER * (TARGET - HEADER)))
    results.report(table(results.rows))


def table(rows: dict[str, Any]) -> Table:
    """A row for each search."""
    lines = [[name, row["pictures"], row["bytes"], row["psnr"], row["seconds"]] for name, row in rows.items()]
    return Table("Search for a file", ["search", "pictures", "bytes each", "PSNR in dB", "seconds each"], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
