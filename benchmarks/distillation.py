"""Every family taught by every family: ``python benchmarks/distillation.py [--scene robot] [--size small]``.

Teachers are trained on the scene's photos, students see their teacher only. For each pair: PSNR on test views to the
truth and to the teacher, and the processor seconds of one thread; beside them the student's family trained from
scratch on the photos for as many seconds. Prints the tables and writes ``docs/results/distillation.json``; cells that
are there already are not run again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nerf.distillation import distill
from nerf.evaluation import evaluate, psnr
from nerf.fields import FIELDS
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.training import train

ROOT = Path(__file__).parents[1]


def timed(work: Callable[[], Run]) -> tuple[Run, float]:
    """What ``work`` returns, and the processor seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def to_teacher(student: Run, teacher: Run, scene: Scene) -> float:
    """Mean PSNR between the two in the test views."""
    cameras = scene.split("test").cameras
    pairs = [(student.draw(cameras[i]).color, teacher.draw(cameras[i]).color) for i in range(len(cameras))]
    return sum(psnr(*pair) for pair in pairs) / len(pairs)


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
    parser.add_argument("--steps", type=int, help="of a teacher; the settings' own when not given")
    parser.add_argument("--distill-steps", type=int, help="of a student; the settings' own when not given")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation", help="trained teachers")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene)
    settings = {k: str(v) for k, v in vars(arguments).items() if k in ("scene", "size", "steps", "distill_steps")}
    table = Table(arguments.output, settings)

    teachers: dict[str, Run] = {}
    for name in FIELDS:
        folder = arguments.runs / name

        def measure_teacher(name: str = name, folder: Path = folder) -> dict[str, float]:
            run, seconds = timed(
                lambda: train(
                    arguments.scene, name, size=arguments.size, steps=arguments.steps, output_dir=folder, resume="auto"
                )
            )
            count = sum(p.numel() for p in run.field.parameters())
            return {
                "psnr": evaluate(run.draw, scene)["psnr"],
                "seconds": seconds,
                "steps": run.report.steps,
                "parameters": count,
            }

        table.cell(f"{name} from photos", measure_teacher)
        teachers[name] = load_run(folder)

    for student in FIELDS:
        for name, teacher in teachers.items():

            def measure_pair(student: str = student, teacher: Run = teacher) -> dict[str, float]:
                run, seconds = timed(
                    lambda: distill(teacher, student, size=arguments.size, steps=arguments.distill_steps)
                )
                means = evaluate(run.draw, scene)
                return {
                    "psnr": means["psnr"],
                    "to_teacher": to_teacher(run, teacher, scene),
                    "seconds": seconds,
                }

            table.cell(f"{name} to {student}", measure_pair)

        def measure_scratch(student: str = student) -> dict[str, float]:
            spent = [table.cells[f"{name} to {student}"]["seconds"] for name in teachers]
            whole = table.cells[f"{student} from photos"]
            steps = max(round(whole["steps"] * (sum(spent) / len(spent)) / whole["seconds"]), 10)
            run, seconds = timed(lambda: train(arguments.scene, student, size=arguments.size, steps=steps))
            return {"psnr": evaluate(run.draw, scene)["psnr"], "seconds": seconds, "steps": run.report.steps}

        table.cell(f"{student} from scratch", measure_scratch)
    report(table)


def report(table: Table) -> None:
    """Markdown tables: rows are teachers, columns students."""
    cells, names = table.cells, list(FIELDS)
    print("\n| family | parameters | PSNR from photos | seconds |\n|---|---|---|---|")
    for name in names:
        row = cells[f"{name} from photos"]
        print(f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['psnr']:.1f} | {row['seconds']:.0f} |")
    for figure in ("psnr", "to_teacher", "seconds"):
        print(f"\n| {figure}: teacher | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        for name in names:
            row = [f"{cells[f'{name} to {student}'][figure]:.1f}" for student in names]
            print(f"| {name} | " + " | ".join(row) + " |")
        if figure != "to_teacher":
            row = [f"{cells[f'{student} from scratch'][figure]:.1f}" for student in names]
            print("| from scratch, equal seconds | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
