"""Every field family distilled into every family: ``python -m benchmarks.distillation.all_pairs``.

Teachers are trained on a scene's photos; students see their teacher only. For each pair: PSNR of test views against the
photos and against the teacher, and processor seconds of one thread. For comparison, each student's family is trained on
the photos from scratch for as many seconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.results import RUNS, Results, Row, Table, result_path, timed
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import train

OUTPUT = result_path(__file__)
FAMILIES = ("hash", "mlp", "voxel", "vm", "cp")


def main(*, scene: str = "robot", size: str = "small", rays: int = 614_400, distill_rays: int = 307_200,
         runs: Path = RUNS / "distillation", output: Path = OUTPUT) -> None:  # fmt: skip
    """Distill every field family into every family.

    Args:
        scene: Shipped scene or folder.
        size: Preset of all fields.
        rays: Rays that a teacher is trained on, whatever its batch.
        distill_rays: Rays that a student is distilled on.
        runs: Folder of the trained teachers.
        output: Results.
    """
    torch.set_num_threads(1)
    loaded = load_scene(scene)
    results = Results(output, {"scene": scene, "size": size, "rays": rays, "distill_rays": distill_rays})
    teachers: dict[str, Run] = {}
    for name in FAMILIES:
        folder = runs / name
        results.row(
            f"{name} from photos", lambda name=name, folder=folder: teacher(scene, loaded, name, size, rays, folder)
        )
        teachers[name] = load_run(folder)
    for student in FAMILIES:
        for name, taught_by in teachers.items():
            results.row(f"{name} to {student}",
                        lambda s=student, t=taught_by: pair(loaded, t, s, size, distill_rays))  # fmt: skip
        spent = [results.rows[f"{name} to {student}"]["seconds"] for name in teachers]
        steps = steps_in(sum(spent) / len(spent), results.rows[f"{student} from photos"])
        results.row(f"{student} from scratch",
                    lambda s=student, steps=steps: from_scratch(scene, loaded, s, size, steps))  # fmt: skip
    results.report(*tables(results.rows))


def teacher(name: str, scene: Scene, family: str, size: str, rays: int, folder: Path) -> Row:
    """Train a teacher on photos and measure it."""
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left was not timed
    steps = rays // batch_size(RadianceConfig, family)
    run, seconds = uninterrupted(lambda: train(name, family, size=size, steps=steps, output_dir=folder))
    parameters = sum(p.numel() for p in run.field.parameters())
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "seconds": round(seconds, 2),
            "steps": run.report.steps, "parameters": parameters}  # fmt: skip


def pair(scene: Scene, teacher: Run, family: str, size: str, rays: int) -> Row:
    """Distill a teacher into a family and measure the student."""
    steps = rays // batch_size(DistillConfig, family)
    run, seconds = uninterrupted(lambda: distill(teacher, family, size=size, steps=steps))
    to_teacher = psnr_between(run.draw, teacher.draw, scene.split("test").cameras)
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "to_teacher": round(to_teacher, 2),
            "seconds": round(seconds, 2)}  # fmt: skip


def from_scratch(name: str, scene: Scene, family: str, size: str, steps: int) -> Row:
    """Train a family on photos for so many steps and measure it."""
    run, seconds = uninterrupted(lambda: train(name, family, size=size, steps=steps))
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "seconds": round(seconds, 2),
            "steps": run.report.steps}  # fmt: skip


def steps_in(seconds: float, whole: Mapping[str, Any]) -> int:
    """Steps that a training with the row ``whole`` makes in so many processor seconds."""
    return max(round(whole["steps"] * seconds / whole["seconds"]), 10)


def uninterrupted(work: Callable[[], Run]) -> tuple[Run, float]:
    """What ``work`` returns, and the processor seconds that it took.

    Raises:
        KeyboardInterrupt: a signal stopped it, so that its figures mean nothing.
    """
    run, seconds = timed(work)
    if run.report.stopped == "signal":
        raise KeyboardInterrupt
    return run, seconds


def batch_size(settings: type[RadianceConfig] | type[DistillConfig], family: str) -> int:
    """Rays of a step in a family's settings."""
    task = "train" if settings is RadianceConfig else "distill"
    return load_settings(settings, family, task=task).train.batch_size


def tables(rows: Mapping[str, Row]) -> list[Table]:
    """Teachers, and for each figure a table whose rows are teachers and whose columns are students."""
    lines = []
    for name in FAMILIES:
        row = rows[f"{name} from photos"]
        lines.append([name, f"{row['parameters'] / 1e6:.2f} M", f"{row['psnr']:.1f}", f"{row['seconds']:.0f}"])
    found = [Table("Teachers, trained on photos", ["family", "parameters", "PSNR in dB", "seconds"], lines)]
    titles = {"psnr": "PSNR of test views, dB", "to_teacher": "PSNR against the teacher, dB", "seconds": "Seconds"}
    for figure, title in titles.items():
        keys = {name: [f"{name} to {student}" for student in FAMILIES] for name in FAMILIES}
        if figure != "to_teacher":
            keys["from scratch, equal seconds"] = [f"{student} from scratch" for student in FAMILIES]
        cells = [
            [name, *(f"{rows[key][figure]:.1f}" if key in rows else "" for key in row)] for name, row in keys.items()
        ]
        found.append(Table(title, ["teacher", *FAMILIES], cells))
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
