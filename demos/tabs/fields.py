"""Tab: one radiance field taught by another of a different family."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..visitors import Studio, job, refusal

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
    return {**made, "table": table, "plot": str(folder / "psnr.png"), "folder": str(folder)}


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
        cameras = nerf.turntable(run, 360, size=SIZE, elevation=elevation)
        made.append(nerf.picture_of(run.draw(cameras[round(azimuth) % 360]).color))
    return {"pictures": tuple(made)}


@lru_cache(maxsize=4)
def _run(place: str) -> Any:
    import nerf

    return nerf.load_run(place)


class Handlers:
    """What the tab's events do; each returns the values of the components that it is wired to."""

    def __init__(self, studio: Studio):
        self.studio = studio

    @job
    def teach(
        self, scene: str, family: str, steps: int, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str, str, list[str]]:  # fmt: skip
        """Teach a student, and say where both fields are."""
        teachers = self.studio.root / "teachers"
        made = self.studio.work(
            visitor, teach, progress=progress, steps=int(steps), scene=scene, family=family, count=int(steps),
            seed=int(seed), teachers=teachers,
        )  # fmt: skip
        return made["teacher"], made["student"], made["table"], made["plot"], [str(teachers / scene), made["folder"]]

    @job
    def look(
        self, azimuth: float, elevation: float, runs: list[str] | None, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Image.Image, Image.Image]:  # fmt: skip
        """Teacher and student from one direction."""
        if runs is None:
            raise refusal("there is no student to look at yet; teach one")
        made = self.studio.work(
            visitor, look, progress=progress, keep=False, runs=runs, azimuth=azimuth, elevation=elevation
        )
        return made["pictures"]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        "A hash grid learns a scene from its photos (once, half a minute or more) and then teaches a field of another"
        " family, which never sees a photo."
    )
    page, handlers, runs = _layout(), Handlers(studio), gr.State(None)
    page.start.click(
        handlers.teach, [page.scene, page.family, page.steps, page.seed, visitor],
        [page.teacher, page.student, page.table, page.curve, runs],
        api_name="distill", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    gr.on(
        [page.azimuth.input, page.elevation.input], handlers.look, [page.azimuth, page.elevation, runs, visitor],
        [page.teacher, page.student], api_name="look", concurrency_id="work", concurrency_limit=1,
        trigger_mode="always_last", show_progress="hidden",
    )  # fmt: skip
    page.stop.click(studio.cancel, visitor, None, api_name=False, queue=False)


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    scene: gr.Dropdown
    family: gr.Dropdown
    steps: gr.Slider
    seed: gr.Number
    start: gr.Button
    stop: gr.Button
    teacher: gr.Image
    student: gr.Image
    azimuth: gr.Slider
    elevation: gr.Slider
    table: gr.Markdown
    curve: gr.Image


def _layout() -> Page:
    with gr.Row():
        with gr.Column():
            scene = gr.Dropdown(list(SCENES), value=SCENES[0], label="Scene")
            family = gr.Dropdown(list(FAMILIES), value="vm", label="Student")
            steps = gr.Slider(
                50, 1000, 100, step=50, label="Steps",
                info="vm, cp and voxel begin close to their teacher; mlp and hash want hundreds",
            )  # fmt: skip
            seed = gr.Number(0, label="Seed", precision=0)
            with gr.Row():
                start, stop = gr.Button("Teach", variant="primary"), gr.Button("Cancel")
        with gr.Column(scale=2):
            with gr.Row():
                teacher = gr.Image(label="Teacher", interactive=False, height=240, alt_text="The teacher's field")
                student = gr.Image(
                    label="Student", interactive=False, height=240, elem_id="student", alt_text="The student's field"
                )
            with gr.Row():
                azimuth = gr.Slider(0, 359, 30, step=1, label="Azimuth", info="follows while it moves")
                elevation = gr.Slider(-10, 80, 25, step=1, label="Elevation")
            table = gr.Markdown()
            curve = gr.Image(label="PSNR over steps", interactive=False, height=260, alt_text="PSNR over steps")
    return Page(scene, family, steps, seed, start, stop, teacher, student, azimuth, elevation, table, curve)
