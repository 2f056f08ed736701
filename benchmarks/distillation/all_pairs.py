"""Every family taught by every family: ``python -m benchmarks.distillation.all_pairs [--scene robot] [--size small]``.

Teachers are trained on the scene's photos, students see their teacher only. For each pair: PSNR on test views to the
truth and to the teacher, and the processor seconds of one thread; beside them the student's family trained from
scratch on the photos for as many seconds. Prints the tables and writes its results; cells that
are there already are not run again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import train

ROOT = Path(__file__).parents[2]
FAMILIES = ("hash", "mlp", "voxel", "vm", "cp")


def timed(work: Callable[[], Run]) -> tuple[Run, float]:
    """What ``work`` returns, and the processor seconds it took.

    Raises:
        KeyboardInterrupt: it was stopped by a signal, so that its figures mean nothing.
    """
    start = time.process_time()
    run = work()
    if run.report.stopped == "signal":
        raise KeyboardInterrupt
    return run, time.process_time() - start


def batch_size(settings: type[RadianceConfig] | type[DistillConfig], name: str) -> int:
    """Rays of a step in a family's settings."""
    task = "train" if settings is RadianceConfig else "distill"
    return load_settings(settings, name, task=task).train.batch_size


class Table:
    """Results by key, written after every one."""

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path, self.cells = path, {}
        if path.is_file():
            saved = json.loads(path.read_text(encoding="utf-8"))
            if saved["settings"] == settings:
                self.cells = saved["cells"]
        self.settings = settings

    def cell(self, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        if key not in self.cells:
            self.cells[key] = {name: round(value, 2) for name, value in measure().items()}
            about = {"settings": self.settings, "cells": self.cells}
            about["machine"] = {"processor": platform.machine(), "torch": torch.__version__, "threads": 1}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            print(key, self.cells[key], flush=True)
        return self.cells[key]


def main() -> None:
    parser = argparse.ArgumentParser(description="Every family taught by every family.")
    parser.add_argument("--scene", default="robot")
    parser.add_argument("--size", default="small")
    parser.add_argument("--rays", type=int, default=614_400, help="that a teacher is trained on, whatever its batch")
    parser.add_argument("--distill-rays", type=int, default=307_200, help="that a student is taught on")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation", help="trained teachers")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation" / "all_pairs.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene)
    settings = {k: str(v) for k, v in vars(arguments).items() if k in ("scene", "size", "rays", "distill_rays")}
    table = Table(arguments.output, settings)

    teachers: dict[str, Run] = {}
    for name in FAMILIES:
        folder = arguments.runs / name

        def measure_teacher(name: str = name, folder: Path = folder) -> dict[str, float]:
            steps = arguments.rays // batch_size(RadianceConfig, name)
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left was not timed
            run, seconds = timed(
                lambda: train(arguments.scene, name, size=arguments.size, steps=steps, output_dir=folder)
            )
            count = sum(p.numel() for p in run.field.parameters())
            return {
                "psnr": evaluate_views(run.draw, scene)["psnr"],
                "seconds": seconds,
                "steps": run.report.steps,
                "parameters": count,
            }

        table.cell(f"{name} from photos", measure_teacher)
        teachers[name] = load_run(folder)

    for student in FAMILIES:
        for name, teacher in teachers.items():

            def measure_pair(student: str = student, teacher: Run = teacher) -> dict[str, float]:
                steps = arguments.distill_rays // batch_size(DistillConfig, student)
                run, seconds = timed(lambda: distill(teacher, student, size=arguments.size, steps=steps))
                means = evaluate_views(run.draw, scene)
                return {
                    "psnr": means["psnr"],
                    "to_teacher": psnr_between(run.draw, teacher.draw, scene.split("test").cameras),
                    "seconds": seconds,
                }

            table.cell(f"{name} to {student}", measure_pair)

        def measure_scratch(student: str = student) -> dict[str, float]:
            spent = [table.cells[f"{name} to {student}"]["seconds"] for name in teachers]
            whole = table.cells[f"{student} from photos"]
            steps = max(round(whole["steps"] * (sum(spent) / len(spent)) / whole["seconds"]), 10)
            run, seconds = timed(lambda: train(arguments.scene, student, size=arguments.size, steps=steps))
            return {"psnr": evaluate_views(run.draw, scene)["psnr"], "seconds": seconds, "steps": run.report.steps}

        table.cell(f"{student} from scratch", measure_scratch)
    report(table)


def report(table: Table) -> None:
    """Markdown tables: rows are teachers, columns students."""
    cells, names = table.cells, FAMILIES
    print("\n| family | parameters | PSNR from photos | seconds |\n|---|---|---|---|")
    for name in names:
        row = cells[f"{name} from photos"]
        print(f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['psnr']:.1f} | {row['seconds']:.0f} |")
    for figure in ("psnr", "to_teacher", "seconds"):
        print(f"\n| {figure}: teacher | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        rows = {name: [f"{name} to {student}" for student in names] for name in names}
        if figure != "to_teacher":
            rows["from scratch, equal seconds"] = [f"{student} from scratch" for student in names]
        for label, keys in rows.items():
            values = [f"{cells[key][figure]:.1f}" if key in cells else "" for key in keys]
            print(f"| {label} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
