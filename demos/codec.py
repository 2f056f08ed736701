"""Tab: a picture as a small file, beside JPEG of the same size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr

from .studio import Studio

SIDE = 96
"""Pixels of the longer side that a picture is brought to: a tile of 32x32 takes about two seconds of a core."""


def code(file: str, target_bytes: int, folder: Path) -> dict[str, Any]:
    """Compress a picture, decompress it, and do the same with JPEG; runs in the worker."""
    import numpy as np
    from PIL import Image

    import pipelines
    from pipelines.images import load_images

    picture = load_images([file])[0]
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / "input.png")
    done = pipelines.compress(folder / "input.png", folder / "picture.mfc", target_bytes=target_bytes)
    pipelines.decompress(folder / "picture.mfc", folder / "decoded.png")
    jpeg = _jpeg(picture, len(done.data))
    lines = ["| | bytes | PSNR |", "|---|---|---|", f"| mapfield | {len(done.data)} | {done.psnr:.2f} dB |"]
    made = {"input": str(folder / "input.png"), "decoded": str(folder / "decoded.png")}
    if jpeg is None:
        lines.append(f"| JPEG | no file of {len(done.data)} bytes or less | |")
    else:
        (folder / "jpeg.jpg").write_bytes(jpeg)
        with Image.open(folder / "jpeg.jpg") as opened:
            error = np.asarray(opened, dtype=float) - np.asarray(picture, dtype=float)
        lines.append(f"| JPEG | {len(jpeg)} | {10 * np.log10(255**2 / np.square(error).mean()):.2f} dB |")
        made["jpeg"] = str(folder / "jpeg.jpg")
    return {**made, "file": str(folder / "picture.mfc"), "table": "\n".join(lines)}


def _jpeg(picture: Any, limit: int) -> bytes | None:
    """The best JPEG of at most so many bytes, if there is one."""
    best = None
    for quality in range(1, 96):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() > limit:
            break
        best = buffer.getvalue()
    return best


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        f"A picture becomes a small network, and the network a file. Pictures are brought to {SIDE} pixels, because the"
        " codec is thorough and slow."
    )
    with gr.Row():
        with gr.Column():
            picture = gr.File(label="Picture", file_types=["image"])
            size = gr.Slider(200, 4000, 900, step=50, label="Bytes at most")
            with gr.Row():
                start = gr.Button("Compress", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            gallery = gr.Gallery(label="Input, decoded, JPEG", columns=3)
            table = gr.Markdown()
            file = gr.File(label="The compressed file")

    def on_code(
        picture: str | None, size: int, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[tuple[str, str]], str, str]:  # fmt: skip
        if not picture:
            raise gr.Error("there is no picture yet; drop one", print_exception=False)
        made = studio.work(visitor, code, progress=progress, file=picture, target_bytes=int(size))
        shown = [(made[name], name) for name in ("input", "decoded", "jpeg") if name in made]
        return shown, made["table"], made["file"]

    start.click(
        on_code, [picture, size, visitor], [gallery, table, file],
        api_name="compress", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name=False, queue=False)
