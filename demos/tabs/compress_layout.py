"""Components of the tab Compress."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ..pages import Desk, compared, desk, still, upload
from ..visitors import Studio
from .compress_jobs import SIDE, examples

WHOLE, PART = "the whole picture, made smaller", "a part of it, as sharp as it is"
SIZE, QUALITY = "size", "quality"
INPUT = "the picture itself"


@dataclass(frozen=True)
class Page:
    """The tab's components."""

    picture: gr.Image
    region: gr.Radio
    across: gr.Slider
    down: gr.Slider
    target: gr.Radio
    size: gr.Slider
    quality: gr.Slider
    at: Desk
    other: gr.Radio
    slider: gr.ImageSlider
    table: gr.Markdown
    curve: gr.Image
    file: gr.File


def layout(studio: Studio) -> Page:
    """Build them."""
    gr.Markdown(
        "A picture becomes a small network, and the network a very small file. Drag the line to compare it with JPEG"
        f" and AVIF files of the same size. The codec is thorough and slow, so the app takes {SIDE} pixels."
    )
    with gr.Row():
        with gr.Column():
            picture = upload("Picture", height=220)
            gr.Examples(examples(studio.root), picture, label="Examples")
            region = gr.Radio([WHOLE, PART], value=WHOLE, label="Region")
            with gr.Row(visible=False) as place:
                across = gr.Slider(0, 100, 50, step=1, label="Centre from the left, percent")
                down = gr.Slider(0, 100, 50, step=1, label="Centre from the top, percent")
            target = gr.Radio(
                [("Size", SIZE), ("Quality", QUALITY)],
                value=SIZE,
                label="Target",
                info="of the file, or of the picture",
            )
            size = gr.Slider(200, 4000, 900, step=50, label="Bytes at most")
            quality = gr.Slider(20, 40, 28, step=0.5, label="PSNR at least, dB", visible=False)
            at = desk("Compress")
        with gr.Column():
            other = gr.Radio(["JPEG", "AVIF", INPUT], value="JPEG", label="Left of the line", info="right: mapfield")
            slider = compared("Compare", elem_id="compared", max_height=420)
            table = gr.Markdown(elem_id="rates")
            file = gr.File(label="The compressed file", height=90, interactive=False)
            with gr.Accordion("PSNR over bytes", open=False):
                curve = still("PSNR over bytes", "PSNR over bytes of mapfield, JPEG and AVIF", height=280)
    region.change(lambda region: gr.Row(visible=region == PART), region, place, **_SILENT)
    target.change(
        lambda target: (gr.Slider(visible=target == SIZE), gr.Slider(visible=target == QUALITY)), target,
        [size, quality], **_SILENT,
    )  # fmt: skip
    return Page(picture, region, across, down, target, size, quality, at, other, slider, table, curve, file)


_SILENT = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
