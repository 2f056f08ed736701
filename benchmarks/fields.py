"""Fields beside plainer ways to do the same: ``python benchmarks/fields.py [--scene robot]``.

Side by side in one run, on one thread, in processor seconds: drawing a view with and without the occupancy grid, and
training a hash grid with and without what makes ours fast (occupancy grid, one bag of rows for all levels) to the same
PSNR on test views. Prints a table and writes ``docs/results/fields.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mappers.draws import Draws
from mappers.settings import load_settings
from nerf.evaluation import psnr
from nerf.fields import Field, build_field
from nerf.fields.hash_grid import PRIMES, HashEncoding
from nerf.occupancy import OccupancyGrid
from nerf.renderer import render_picture
from nerf.scenes import Scene, load_scene
from nerf.settings import RadianceConfig
from nerf.training import RadianceTask

ROOT = Path(__file__).parents[1]
GOAL = 25.0
"""PSNR in dB on test views that both trainings have to reach."""
EVERY = 25
"""Steps between looks at the test views; looking is not timed."""


class PlainEncoding(torch.nn.Module):
    """The hash encoding as a straightforward program has it: level by level, corner by corner, one gather each."""

    def __init__(self, encoding: HashEncoding):
        super().__init__()
        self.config, self.table = encoding.config, encoding.table
        self.starts, self.hashed = encoding.starts, encoding.hashed

    def forward(self, unit: torch.Tensor) -> torch.Tensor:
        out = []
        for resolution, start, hashed in zip(self.config.resolutions, self.starts, self.hashed, strict=True):
            scaled = unit * resolution
            base = scaled.floor().clamp(0, resolution - 1)
            share = scaled - base
            total = torch.zeros(len(unit), self.config.level_features)
            for corner in range(8):
                bits = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
                node = base.long() + bits
                if hashed:
                    row = node[:, 0] ^ (node[:, 1] * PRIMES[1]) ^ (node[:, 2] * PRIMES[2])
                    row = row % 2**self.config.table_log2
                else:
                    row = node[:, 0] + (resolution + 1) * (node[:, 1] + (resolution + 1) * node[:, 2])
                weight = torch.where(bits.bool(), share, 1 - share).prod(-1, keepdim=True)
                total = total + weight * self.table[row + start]
            out.append(total)
        return torch.cat(out, -1)


def seconds_to(goal: float, scene: Scene, field: Field, config: RadianceConfig, *, grid: bool, most: int) -> float:
    """Processor seconds of training until the test views reach ``goal``; infinite if ``most`` steps do not."""
    occupancy = OccupancyGrid(scene.bounds, config.occupancy) if grid else None
    task = RadianceTask(scene, field, config, occupancy)
    rate = config.train.learning_rate
    optimizer = torch.optim.AdamW(field.parameters(), rate, config.train.betas, config.train.eps, 0.0)
    spent = 0.0
    for step in range(most):
        start = time.process_time()
        draws = Draws(0, step, range(config.train.batch_size))
        task.loss(task.modules, task.batch(draws), draws)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        spent += time.process_time() - start
        if (step + 1) % EVERY == 0:
            pairs = [task.draw(i) for i in range(3)]
            found = sum(psnr(*pair) for pair in pairs) / len(pairs)
            print(f"step {step + 1}: {found:.2f} dB after {spent:.1f} s", flush=True)
            if found >= goal:
                return spent
    return float("inf")


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of ``work``."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return sorted(spent)[len(spent) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fields beside plainer ways to do the same.")
    parser.add_argument("--scene", default="robot")
    parser.add_argument("--most", type=int, default=400, help="steps after which a training counts as failed")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene)
    config = load_settings(RadianceConfig, "hash", task="train")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, schedule="constant"))

    ours = build_field("hash", scene.bounds)
    fast = seconds_to(GOAL, scene, ours, config, grid=True, most=arguments.most)
    plain = build_field("hash", scene.bounds)
    plain.encoding = PlainEncoding(plain.encoding)  # pyright: ignore
    slow = seconds_to(GOAL, scene, plain, config, grid=False, most=arguments.most)

    grid = OccupancyGrid(scene.bounds, config.occupancy)
    task = RadianceTask(scene, ours, config, grid)
    for step in range(0, 17 * config.occupancy_every, config.occupancy_every):
        draws = Draws(1, step, range(config.train.batch_size))
        task.loss(task.modules, task.batch(draws), draws)
    camera = scene.split("test").cameras[0]
    with_grid = seconds(lambda: render_picture(ours, camera, task.marching, grid=grid), 5)
    without = seconds(lambda: render_picture(ours, camera, task.marching), 3)
    result = {
        "scene": arguments.scene,
        "hash_to_25_db": {"ours": round(fast, 1), "plain": round(slow, 1), "ratio": round(slow / fast, 1)},
        "drawing": {
            "occupancy": round(with_grid, 3),
            "everywhere": round(without, 3),
            "ratio": round(without / with_grid, 1),
        },
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("| | ours | plain | ratio |\n|---|---|---|---|")
    for name, row in result.items():
        if isinstance(row, dict):
            print(f"| {name} | " + " | ".join(f"{value:g}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
