"""Tab: one radiance field taught by another of a different family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from .studio import Studio

SCENES = ("robot", "lighthouse", "still-life")
"""Shipped scenes that do not move."""
FAMILIES = ("mlp", "vm", "cp", "voxel", "hash")
TEACHER_STEPS = 600
"""Of the hash grid that learns from the photos, once for each scene."""
VIEWS, SIZE = 16, 128
"""Pictures of a turn, and their pixels."""


def teach(scene: str, family: str, count: int, seed: int, teachers: Path, folder: Path) -> dict[str, Any]:
    """Train a hash grid on a scene unless there is one, and teach a student; runs in the worker."""
    import nerf
    import pipelines
    from nerf.export import film
    from nerf.runs import REPORT, turntable

    place = teachers / scene
    known = (place / REPORT).is_file()
    teacher = nerf.load_run(place) if known else nerf.train(
        scene, "hash", steps=TEACHER_STEPS, output_dir=place, resume="auto"
    )  # fmt: skip
    student = pipelines.distill(teacher, family, steps=count, seed=seed, output_dir=folder)
    made = {}
    for name, run in (("teacher", teacher), ("student", student)):
        film(run, turntable(run, VIEWS, size=SIZE), folder / f"{name}.gif", fps=8)
        made[name] = str(folder / f"{name}.gif")
    rows = [("teacher, hash", teacher, "teacher_psnr"), (f"student, {family}", student, "psnr")]
    lines = ["| | parameters | PSNR on test views |", "|---|---|---|"]
    for label, run, figure in rows:
        parameters = sum(p.numel() for p in run.field.parameters())
        lines.append(f"| {label} | {parameters:,} | {student.figures[figure]:.1f} dB |")
    return {**made, "table": "\n".join(lines)}


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        "A hash grid learns a scene from its photos (once, half a minute or more) and then teaches a field of another"
        " family, which never sees a photo."
    )
    with gr.Row():
        with gr.Column():
            scene = gr.Dropdown(list(SCENES), value=SCENES[0], label="Scene")
            family = gr.Dropdown(list(FAMILIES), value="vm", label="Student")
            steps = gr.Slider(100, 1000, 300, step=50, label="Steps")
            seed = gr.Number(0, label="Seed", precision=0)
            with gr.Row():
                start = gr.Button("Teach", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            with gr.Row():
                teacher = gr.Image(label="Teacher", interactive=False)
                student = gr.Image(label="Student", interactive=False)
            table = gr.Markdown()

    def on_teach(
        scene: str, family: str, steps: int, seed: float, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str]:  # fmt: skip
        made = studio.work(
            visitor, teach, progress=progress, steps=int(steps), scene=scene, family=family, count=int(steps),
            seed=int(seed), teachers=studio.root / "teachers",
        )  # fmt: skip
        return made["teacher"], made["student"], made["table"]

    start.click(
        on_teach, [scene, family, steps, seed, visitor], [teacher, student, table],
        api_name="distill", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name=False, queue=False)
