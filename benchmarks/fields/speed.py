"""Speed of fields compared with those of other projects: ``python -m benchmarks.fields.speed [--reference DIR ...]``.

In one run, on one thread, in processor seconds: drawing a view with the occupancy grid and without; a hash grid as ours
and as a straightforward program has it; and our hash, vm and mlp compared with HashNeRF-pytorch, TensoRF and
nerf-pytorch, of which the user supplies checkouts (rows without one are skipped by name). All contenders of a row see
the same rays on white for the same number of steps at about the same number of parameters, each with its own sampling,
optimizer and rates, which stay constant. Quality is the PSNR of random pixels of the test views.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.common.results import Results, Row, Table, median_seconds, result_path
from benchmarks.fields.references import BUILDERS, COARSE, FINE, NAMES, found
from mappers.command_line import run_script
from mappers.quality import psnr
from mappers.training.draws import Draws
from mappers.yaml_settings import load_settings
from nerf.cameras import Rays
from nerf.fields import FIELDS, Field, build_field
from nerf.fields.hash_grid import PRIMES, HashEncoding
from nerf.rendering.compositing import render_rays
from nerf.rendering.renderer import render_picture
from nerf.rendering.samplers import UniformSampler
from nerf.scenes import Scene, load_scene
from nerf.settings import RadianceConfig
from nerf.training import RadianceTask, build_sampler

OUTPUT = result_path(__file__)
LOOKS = 20
"""How often a training is measured; measuring is not timed."""
PIXELS = 2000
"""Test pixels that measure it."""

Curve = list[tuple[float, float]]
"""Processor seconds of training, and the PSNR then."""


class Contender(Protocol):
    """A field of some project: is trained on rays and renders rays on white."""

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
        samples = self.task.sampler.march(rays, self.task.marching)
        return render_rays(self.task.field, rays, samples, torch.ones(len(rays), 3)).color


@dataclasses.dataclass
class Comparison:
    """The rays that all contenders are trained on, and the test pixels that measure them."""

    task: RadianceTask
    """Draws the rays of a step."""
    rays: Rays
    truth: Tensor
    steps: int

    @classmethod
    def of(cls, scene: Scene, config: RadianceConfig, steps: int) -> Comparison:
        test = scene.split("test")
        u = torch.rand(PIXELS, 3, generator=torch.Generator().manual_seed(0))
        sizes = torch.tensor([len(test), test.cameras.width, test.cameras.height])
        camera, x, y = (u * sizes).long().unbind(-1)
        pixels = torch.stack([x, y], -1) + 0.5
        rays = test.cameras.rays(camera, pixels)
        field = build_field("cp", scene.bounds)
        task = RadianceTask(scene, field, config, UniformSampler(field.bounds))
        return cls(task, rays, test.colors(camera, pixels, torch.ones(3)), steps)

    def train(self, contender: Any) -> Curve:
        """Train a contender; its PSNR over its processor seconds."""
        curve, spent = [], 0.0
        torch.manual_seed(0)
        for step in range(self.steps):
            draws = Draws(0, step, range(self.task.config.train.batch_size))
            batch = self.task.batch(draws)
            start = time.process_time()
            if isinstance(contender, Ours):
                contender.task.begin_step(contender.task.modules, draws)
                loss = contender.task.loss(contender.task.modules, batch, draws)["loss"]
            else:
                loss = contender.loss(batch[0], batch[1])
            contender.optimizer.zero_grad()
            loss.backward()
            contender.optimizer.step()
            spent += time.process_time() - start
            if (step + 1) % max(self.steps // LOOKS, 1) == 0:
                curve.append((spent, self.psnr(contender)))
                print(f"{contender.name}, step {step + 1}: {curve[-1][1]:.2f} dB after {spent:.1f} s", flush=True)
        return curve

    @torch.no_grad()
    def psnr(self, contender: Contender) -> float:
        """Of the test pixels, dB."""
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


def compare(comparison: Comparison, *contenders: Contender) -> Row:
    """Figures of all contenders, and the seconds of each until the PSNR that all reach."""
    curves = [comparison.train(contender) for contender in contenders]
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
    """The settings that ship for a family, in one stage with so many rays a step."""
    config = load_settings(RadianceConfig, family, task="train")
    return dataclasses.replace(config, stages=1, prune=None, shrink=False,
                               train=dataclasses.replace(config.train, batch_size=rays))  # fmt: skip


def drawing(scene: Scene, trained: Ours) -> dict[str, float]:
    """Seconds to draw a test view with and without the occupancy grid."""
    camera, task = scene.split("test").cameras[0], trained.task
    with_grid = median_seconds(lambda: render_picture(task.field, camera, task.marching, sampler=task.sampler))
    without = median_seconds(lambda: render_picture(task.field, camera, task.marching), repeats=3)
    return {"occupancy": round(with_grid, 3), "everywhere": round(without, 3), "ratio": round(without / with_grid, 1)}


def main(*, scene: str = "robot", steps: int = 400, rays: int = 1024, reference: tuple[Path, ...] = (),
         output: Path = OUTPUT) -> None:  # fmt: skip
    """Train our fields and those of other projects side by side.

    Args:
        scene: Shipped scene or folder.
        steps: Training steps of each contender.
        rays: Rays of a step.
        reference: Checkouts of HashNeRF-pytorch, TensoRF and nerf-pytorch, any of them.
        output: Results.
    """
    torch.set_num_threads(1)
    checkouts = found(list(reference))
    # Opaque, so that targets lie on white, the only background that every project can be trained on.
    loaded = dataclasses.replace(load_scene(scene), has_alpha=False)
    results = Results(output, {"scene": scene, "steps": steps, "rays": rays})

    def ours(family: str, note: str = "", **changes: Any) -> Ours:
        config = dataclasses.replace(settings_of(family, rays), **changes)
        return Ours(f"our {family}{note}", loaded, build_field(family, loaded.bounds), config)

    comparison = Comparison.of(loaded, settings_of("hash", rays), steps)
    if "drawing" not in results.rows:
        grid, plain = ours("hash"), ours("hash", ", per-level gathers, no grid", occupancy=0)
        plain.task.field.encoding = PlainEncoding(plain.task.field.encoding)  # pyright: ignore
        results.put("hash", compare(comparison, grid, plain))
        results.put("drawing", drawing(loaded, grid))
    for family, build in BUILDERS.items():
        name = f"{family} and {NAMES[family]}"
        if name in results.rows:
            continue
        if NAMES[family] not in checkouts:
            print(f"skipped: {NAMES[family]}, no checkout given (--reference)")
            continue
        contenders: list[Contender] = [ours(family)]
        if family == "mlp":  # as NeRF has it: two networks, no grid
            contenders.append(ours(family, ", coarse and fine", occupancy=0, intervals=COARSE, fine=FINE))
        other = build(checkouts[NAMES[family]], loaded, FIELDS[family].presets["small"])
        results.put(name, compare(comparison, *contenders, other))
    results.report(*tables(results.rows))


def tables(rows: dict[str, Row]) -> list[Table]:
    """Contenders of a row below one another, and the seconds to draw a view."""
    lines = []
    for figures in rows.values():
        for name, one in figures.get("fields", {}).items():
            lines.append([name, one["parameters"], one["psnr"], one["seconds"], figures["goal"],
                          one["seconds_to_goal"]])  # fmt: skip
    columns = ["field", "parameters", "PSNR in dB", "seconds", "PSNR that all reach", "seconds to it"]
    drawing = [[name, rows["drawing"][name]] for name in ("occupancy", "everywhere", "ratio")]
    return [Table("Training", columns, lines), Table("Seconds to draw a view", ["samples", "seconds"], drawing)]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
