"""What the tab 3D fields does: teachers and students, trained and drawn in the worker; no page in here."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

SCENES = ("robot", "lighthouse", "still-life")
"""Shipped scenes that do not move."""
FAMILIES = ("mlp", "vm", "cp", "voxel", "hash")
TEACHER_STEPS = 250
"""Of the hash grid that learns from the photos, once for each scene."""
VIEWS, SIZE = 12, 128
"""Pictures of a turn, and their pixels."""


def teach(scene: str, family: str, count: int, seed: int, teachers: Path, folder: Path) -> dict[str, Any]:
    """Train a hash grid on a scene unless there is one, and teach a student; runs in the worker."""
    import nerf
    import pipelines

    place = teachers / scene
    known = (place / nerf.REPORT).is_file()
    teacher = nerf.load_run(place) if known else nerf.train(
        scene, "hash", steps=TEACHER_STEPS, output_dir=place, resume="auto"
    )  # fmt: skip
    student = pipelines.distill(teacher, family, steps=count, seed=seed, output_dir=folder)
    made = {}
    for name, run in (("teacher", teacher), ("student", student)):
        nerf.render_film(run, nerf.turntable(run, VIEWS, size=SIZE), folder / f"{name}.gif", fps=8)
        made[name] = str(folder / f"{name}.gif")
    fields = [("teacher, hash", teacher, "teacher_psnr"), (f"student, {family}", student, "psnr")]
    rows = []
    for label, run, figure in fields:
        parameters = sum(p.numel() for p in run.field.parameters())
        rows.append((label, f"{parameters:,}", f"{student.figures[figure]:.1f} dB"))
    plot(folder, folder / "psnr.png")
    table = pipelines.markdown_table(["", "parameters", "PSNR on test views"], rows)
    with Image.open(folder / "student.gif") as film:
        film.convert("RGB").save(folder / "student.png")
    return {**made, "table": table, "plot": str(folder / "psnr.png"), "thumbnail": str(folder / "student.png")}


def is_kept(run: str) -> bool:
    """Whether the field of a run is still there to be drawn."""
    return (Path(run) / "report.json").is_file()


def plot(folder: Path, path: Path) -> None:
    """PSNR of a student's batches over its steps, one stage after the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    begun = 0
    for stage in sorted(folder.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in stage.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if "train/psnr" in row]
        if rows:
            axes.plot([begun + row["step"] for row in rows], [row["train/psnr"] for row in rows], marker=".")
            begun += rows[-1]["step"]
    axes.set(xlabel="step", ylabel="PSNR to the teacher (dB)")
    figure.savefig(path, dpi=100)


def look(runs: list[str], azimuth: float, elevation: float) -> dict[str, Any]:
    """Teacher and student from one place; runs in the worker."""
    import nerf

    made = []
    for run in map(_run, runs):
        # Of photos from one side, the path has no elevation.
        height = elevation if run.viewpoints.kind == "orbit" else None
        cameras = nerf.turntable(run, 360, size=SIZE, elevation=height)
        made.append(nerf.picture_of(run.draw(cameras[round(azimuth) % 360]).color))
    return {"pictures": tuple(made)}


@lru_cache(maxsize=4)
def _run(place: str) -> Any:
    import nerf

    return nerf.load_run(place)
