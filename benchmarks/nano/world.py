"""Shows the nano world and times it: ``python -m benchmarks.nano.world``.

Writes a sheet of captioned pictures of a fixed seed, and prints the pictures per second on one thread.
"""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.common.results import IMAGES
from mappers.command_line import run_script
from pipelines.nano import world

ROWS, COLUMNS, CELL = 8, 12, 88
LINE, LINES = 11, 4


def sheet(seed: int) -> Image.Image:
    """``ROWS`` x ``COLUMNS`` random scenes with their captions, in 256 colours to keep the file small."""
    rng = np.random.default_rng(seed)
    font = ImageFont.load_default(9)
    step = CELL + 6, CELL + LINES * LINE + 6
    page = Image.new("RGB", (COLUMNS * step[0] + 6, ROWS * step[1] + 6), "white")
    draw = ImageDraw.Draw(page)
    for i in range(ROWS * COLUMNS):
        scene = world.sample_scene(rng)
        left, top = 6 + i % COLUMNS * step[0], 6 + i // COLUMNS * step[1]
        page.paste(Image.fromarray(world.render(scene, CELL)), (left, top))
        words = textwrap.wrap(world.caption(scene, rng), 18)[:LINES]
        draw.text((left, top + CELL + 1), "\n".join(words), fill=(40, 40, 40), font=font, spacing=1)
    return page.quantize(palette=page.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)


def pictures_per_second(count: int = 2000) -> float:
    """Sampling, captioning and rendering at 64 pixels, after a first pass that fills the caches."""
    seconds = 0.0
    for _ in range(2):
        rng = np.random.default_rng(0)
        start = time.perf_counter()
        for _ in range(count):
            scene = world.sample_scene(rng)
            world.caption(scene, rng)
            world.render(scene)
        seconds = time.perf_counter() - start
    return count / seconds


def main(*, output: Path = IMAGES / "nano" / "world.png", seed: int = 1) -> None:
    """Draw a sheet of the nano world and time it.

    Args:
        output: Picture.
        seed: Seed of the scenes.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet(seed).save(output, optimize=True)
    print(f"{output}; {pictures_per_second():.0f} pictures/s on one thread")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
