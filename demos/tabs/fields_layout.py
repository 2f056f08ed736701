"""Components of the tab 3D fields."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..pages import Desk, desk, still
from .fields_jobs import FAMILIES, SCENES


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    scene: gr.Dropdown
    family: gr.Dropdown
    steps: gr.Slider
    seed: gr.Number
    at: Desk
    teacher: gr.Image
    student: gr.Image
    azimuth: gr.Slider
    elevation: gr.Slider
    table: gr.Markdown
    curve: gr.Image


def layout() -> Page:
    """Build them."""
    gr.Markdown(
        "A radiance field is a network that holds a scene in three dimensions. A hash grid learns a scene from its"
        " photos, which takes half a minute the first time. It is then converted to a field of another family, which"
        " never sees a photo. Drag a picture to turn both."
    )
    with gr.Row():
        with gr.Column():
            scene = gr.Dropdown(list(SCENES), value=SCENES[0], label="Scene")
            family = gr.Dropdown(list(FAMILIES), value="vm", label="Convert to")
            with gr.Accordion("More", open=False):
                steps = gr.Slider(
                    50, 1000, 100, step=50, label="Steps",
                    info="vm, cp and voxel begin close to the hash grid; mlp and hash need hundreds",
                )  # fmt: skip
                seed = gr.Number(0, label="Seed", precision=0)
            at = desk("Convert")
        with gr.Column(scale=2):
            with gr.Row():
                teacher = still("Hash grid", "The hash grid's field", height=260, elem_classes="turned")
                student = still(
                    "Converted", "The converted field", height=260, elem_id="student", elem_classes="turned"
                )
            with gr.Row():
                azimuth = gr.Slider(0, 359, 30, step=1, label="Azimuth, degrees", elem_classes="azimuth")
                elevation = gr.Slider(-10, 80, 25, step=1, label="Elevation, degrees", elem_classes="elevation")
            table = gr.Markdown()
            with gr.Accordion("PSNR over steps", open=False):
                curve = still("PSNR over steps", "PSNR of the converted field over steps", height=340)
    return Page(scene, family, steps, seed, at, teacher, student, azimuth, elevation, table, curve)
