"""Fields and those of other people: ``python -m benchmarks.fields.speed [--scene robot] [--reference DIR ...]``.

Side by side in one run, on one thread, in processor seconds: drawing a view with and without the occupancy grid, a hash
grid with and without what makes ours fast, and our hash, vm and mlp beside HashNeRF-pytorch, TensoRF and nerf-pytorch
(checkouts that the user supplies; rows without one are skipped by name). Both of a row see the same rays on white for
the same number of steps at about the same number of parameters, each with its own sampling, optimizer and rates, which
stay constant. Quality is the PSNR of random pixels of the test views. Prints a table and writes
its results; rows that are there already, with the same settings, are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.fields.references import BUILDERS, COARSE, FINE, NAMES, found
from mappers.draws import Draws
from mappers.quality import psnr
from mappers.yaml_settings import load_settings
from nerf.cameras import Rays
from nerf.fields import FIELDS, Field, build_field
from nerf.fields.hash_grid import PRIMES, HashEncoding
from nerf.rendering.renderer import march, render_picture, render_rays
from nerf.scenes import Scene, load_scene
from nerf.settings import RadianceConfig
from nerf.training import RadianceTask, build_sampler

ROOT = Path(__file__).parents[2]
LOOKS = 20
"""How often a training is judged; looking is not timed."""
PIXELS = 2000
"""Test pixels that it is judged by."""

Curve = list[tuple[float, float]]
"""Processor seconds of training, and the PSNR then."""


class Contender(Protocol):
    """What takes part: learns from rays and shows rays on white."""

    name: str
    commit: str | None
    """Of another project."""
    parameters: int
    optimizer: torch.optim.Optimizer

    def color(self, rays: Rays) -> Tensor: ...


class PlainEncoding(torch.nn.Module):
    """The hash encoding as a straightforward program has it: level by level, corner by corner, one gather each."""

    def __init__(self, encoding: HashEncoding):
        super().__init__()
        self.config, self.table = encoding.config, encoding.table
        self.starts, self.hashed = encoding.starts, encoding.hashed

    def forward(self, unit: Tensor) -> Tensor:
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


class Ours:
    """One of our fields with the settings that ship for it, at its final resolution from the start."""

    commit: str | None = None
    optimizer: torch.optim.Optimizer

    def __init__(self, name: str, scene: Scene, field: Field, config: RadianceConfig):
        self.name = name
        self.task = RadianceTask(scene, field, config, build_sampler(field, config, seed=0))
        self.parameters = sum(p.numel() for part in self.task.modules.values() for p in part.parameters())
        train = config.train
        groups = [
            {"params": [p], "lr": train.learning_rate * self._rate(f"{module}.{key}")}
            for module, part in self.task.modules.items()
            for key, p in part.named_parameters()
        ]
        self.optimizer = torch.optim.AdamW(groups, train.learning_rate, train.betas, train.eps, train.weight_decay)

    def _rate(self, parameter: str) -> float:
        return next((rate for prefix, rate in self.task.rates.items() if parameter.startswith(prefix)), 1.0)

    def color(self, rays: Rays) -> Tensor:
        samples = march(rays, self.task.marching, self.task.field.bounds, self.task.sampler)
        return render_rays(self.task.field, rays, samples, torch.ones(len(rays), 3)).color


@dataclasses.dataclass
class Course:
    """The rays that all contenders learn from, and those that they are judged by."""

    task: RadianceTask
    """Draws the rays of a step."""
    rays: Rays
    truth: Tensor
    steps: int

    @classmethod
    def of(cls, scene: Scene, config: RadianceConfig, steps: int) -> Course:
        test = scene.split("test")
        u = torch.rand(PIXELS, 3, generator=torch.Generator().manual_seed(0))
        sizes = torch.tensor([len(test), test.cameras.width, test.cameras.height])
        camera, x, y = (u * sizes).long().unbind(-1)
        pixels = torch.stack([x, y], -1) + 0.5
        rays = test.cameras.rays(camera, pixels)
        task = RadianceTask(scene, build_field("cp", scene.bounds), config, None)
        return cls(task, rays, test.colors(camera, pixels, torch.ones(3)), steps)

    def run(self, contender: Any) -> Curve:
        """Train a contender; its PSNR over its processor seconds."""
        curve, spent = [], 0.0
        torch.manual_seed(0)
        for step in range(self.steps):
            draws = Draws(0, step, range(self.task.config.train.batch_size))
            batch = self.task.batch(draws)
            start = time.process_time()
            if isinstance(contender, Ours):
                loss = contender.task.loss(contender.task.modules, batch, draws)["loss"]
            else:
                loss = contender.loss(batch[0], batch[1])
            contender.optimizer.zero_grad()
            loss.backward()
            contender.optimizer.step()
            spent += time.process_time() - start
            if (step + 1) % max(self.steps // LOOKS, 1) == 0:
                curve.append((spent, self.judge(contender)))
                print(f"{contender.name}, step {step + 1}: {curve[-1][1]:.2f} dB after {spent:.1f} s", flush=True)
        return curve

    @torch.no_grad()
    def judge(self, contender: Contender) -> float:
        parts = [contender.color(self.rays[first : first + 500]) for first in range(0, PIXELS, 500)]
        return psnr(torch.cat(parts), self.truth)


def seconds_to(goal: float, curve: Curve) -> float | None:
    """Processor seconds until ``goal`` is reached, between two looks by a straight line; None if it never is."""
    last = (0.0, 0.0)
    for spent, quality in curve:
        if quality >= goal:
            return round(last[0] + (spent - last[0]) * (goal - last[1]) / (quality - last[1]), 2)
        last = (spent, quality)
    return None


def row(course: Course, *contenders: Contender) -> dict[str, Any]:
    """Everyone's figures, and the seconds of each to what all reach."""
    curves = [course.run(contender) for contender in contenders]
    goal = round(min(max(quality for _, quality in curve) for curve in curves) - 0.05, 1)
    return {
        "goal": goal,
        "fields": {
            contender.name: {
                "parameters": contender.parameters,
                "psnr": round(curve[-1][1], 2),
                "seconds": round(curve[-1][0], 1),
                "seconds_to_goal": seconds_to(goal, curve),
                "commit": contender.commit,
            }
            for contender, curve in zip(contenders, curves, strict=True)
        },
    }


def settings_of(family: str, rays: int) -> RadianceConfig:
    config = load_settings(RadianceConfig, family, task="train")
    return dataclasses.replace(config, stages=1, prune=None, shrink=False,
                               train=dataclasses.replace(config.train, batch_size=rays))  # fmt: skip


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor seconds of ``work``."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return sorted(spent)[len(spent) // 2]


def drawing(scene: Scene, trained: Ours) -> dict[str, float]:
    """Seconds to draw a test view with and without the occupancy grid."""
    camera, task = scene.split("test").cameras[0], trained.task
    with_grid = seconds(lambda: render_picture(task.field, camera, task.marching, sampler=task.sampler), 5)
    without = seconds(lambda: render_picture(task.field, camera, task.marching), 3)
    return {"occupancy": round(with_grid, 3), "everywhere": round(without, 3), "ratio": round(without / with_grid, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Fields beside plainer and other people's.")
    parser.add_argument("--scene", default="robot")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rays", type=int, default=1024, help="of a step")
    parser.add_argument(
        "--reference", type=Path, nargs="*", default=[], help="checkouts of " + ", ".join(NAMES.values())
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields" / "speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkouts = found(arguments.reference)
    # Opaque, so that targets lie on white, the only background that every project can learn on.
    scene = dataclasses.replace(load_scene(arguments.scene), has_alpha=False)
    about: dict[str, Any] = {name: getattr(arguments, name) for name in ("scene", "steps", "rays")}
    about |= {"processor": platform.machine(), "torch": torch.__version__, "threads": 1}
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    kept = all(saved.get(key) == value for key, value in about.items())
    result: dict[str, Any] = {**about, "comparisons": saved["comparisons"] if kept else {}}

    def ours(family: str, note: str = "", **changes: Any) -> Ours:
        config = dataclasses.replace(settings_of(family, arguments.rays), **changes)
        return Ours(f"our {family}{note}", scene, build_field(family, scene.bounds), config)

    def write(name: str, figures: dict[str, Any]) -> None:
        result["comparisons"][name] = figures
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    course = Course.of(scene, settings_of("hash", arguments.rays), arguments.steps)
    if "drawing" not in result["comparisons"]:
        grid, plain = ours("hash"), ours("hash", ", per-level gathers, no grid", occupancy=0)
        plain.task.field.encoding = PlainEncoding(plain.task.field.encoding)  # pyright: ignore
        write("hash", row(course, grid, plain))
        write("drawing", drawing(scene, grid))
    for family, build in BUILDERS.items():
        name = f"{family} and {NAMES[family]}"
        if name in result["comparisons"]:
            continue
        if NAMES[family] not in checkouts:
            print(f"skipped: {NAMES[family]}, no checkout given (--reference)")
            continue
        contenders: list[Contender] = [ours(family)]
        if family == "mlp":  # as NeRF has it: two networks, no grid
            contenders.append(ours(family, ", coarse and fine", occupancy=0, intervals=COARSE, fine=FINE))
        other = build(checkouts[NAMES[family]], scene, FIELDS[family].presets["small"])
        write(name, row(course, *contenders, other))
    report(result["comparisons"])


def report(rows: dict[str, dict[str, Any]]) -> None:
    """A table: a row's contenders below one another."""
    print("\n| field | parameters | PSNR | seconds | goal | seconds to it |\n|---|---|---|---|---|---|")
    for figures in rows.values():
        for name, one in figures.get("fields", {}).items():
            values = [one["parameters"], one["psnr"], one["seconds"], figures["goal"], one["seconds_to_goal"]]
            print(f"| {name} | " + " | ".join(map(str, values)) + " |")
    print("\ndrawing a view:", rows["drawing"])


if __name__ == "__main__":
    main()
