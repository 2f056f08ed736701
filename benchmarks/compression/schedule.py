"""Our search beside the published schedule: ``python -m benchmarks.compression.schedule --data DIR [--pictures 1]``.

The official encoder takes 30,000 steps at a learning rate of 2e-4, then codes one block at a time with 30,000 more
shared among them (its five samples a step are one here, which favours it). Both schedules run in our encoder, with the
same model, on the same held-out 32x32 pictures of ``DIR/natural32``, to files of the same bytes; then our search of
single pictures beside one of 64 at once. Prints a table and writes its results. One
thread; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.compression.pictures import ROOT, chosen
from mappers.files import replacing
from nerf.compression import compress
from nerf.compression.encoder import EncodeConfig

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


def main() -> None:
    parser = argparse.ArgumentParser(description="Our search beside the published schedule.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds natural32/")
    parser.add_argument("--pictures", type=int, default=1, help="that the published schedule encodes")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression" / "schedule.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = [Image.fromarray(picture) for picture in chosen(arguments.data, TOGETHER)]
    single = [[picture] for picture in pictures]
    few = single[: arguments.pictures]
    measure(single[:1], None, TARGET)  # loads the model
    rows: dict[str, dict[str, Any]] = {
        "ours": measure(few, None, TARGET),
        "published": measure(few, OFFICIAL, TARGET),
        f"ours, {TOGETHER} pictures": measure(single, None, TARGET),
    }
    # A pack's header is shared: its items get what a picture alone had for its indices.
    rows[f"ours, {TOGETHER} at once"] = measure([pictures], None, TOGETHER * (TARGET - HEADER))
    with replacing(arguments.output) as temporary:
        text = json.dumps({"schedule": [STEPS, BLOCKS, STEPS // BLOCKS], "rows": rows}, indent=1) + "\n"
        temporary.write_text(text, encoding="utf-8")
    print("| search | pictures | bytes each | PSNR | seconds each |\n|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['pictures']} | {row['bytes']} | {row['psnr']} | {row['seconds']} |")


if __name__ == "__main__":
    main()
