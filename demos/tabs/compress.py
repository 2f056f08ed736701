"""Tab: a picture as a small file, and JPEG of the same size to compare with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr

from ..visitors import Studio, job, refusal

SIDE = 128
"""Pixels of the longer side that a picture is brought to: a patch of 32x32 takes about half a second of a core."""
SHARES = (0.25, 0.5, 0.75)
"""Leading shares of the file that are decoded too: it begins with what matters most."""


def code(file: str, target_bytes: int, folder: Path) -> dict[str, Any]:
    """Compress a picture, decompress it, and do the same with JPEG; runs in the worker."""
    from PIL import Image

    import pipelines

    picture = pipelines.load_images([file])[0]
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / "input.png")
    done = pipelines.compress(folder / "input.png", folder / "picture.mfc", target_bytes=target_bytes)
    pipelines.decompress(folder / "picture.mfc", folder / "decoded.png")
    points = [
        (round(len(done.data) * share), _psnr(pipelines.decompress(folder / "picture.mfc", share=share), picture))
        for share in SHARES
    ]
    curves = {name: _curve(picture, name) for name in ("JPEG", "WEBP")}
    plot({"mapfield, a leading share of the file": [*points, (len(done.data), done.psnr)], **curves}, target_bytes,
         folder / "rate.png")  # fmt: skip
    jpeg = _jpeg(picture, len(done.data))
    rows = [("mapfield", str(len(done.data)), _shown(done.psnr))]
    made = {"input": str(folder / "input.png"), "decoded": str(folder / "decoded.png")}
    if jpeg is None:
        rows.append(("JPEG", f"no file of {len(done.data)} bytes or less", ""))
    else:
        (folder / "jpeg.jpg").write_bytes(jpeg)
        with Image.open(folder / "jpeg.jpg") as opened:
            rows.append(("JPEG", str(len(jpeg)), _shown(_psnr(opened, picture))))
        made["jpeg"] = str(folder / "jpeg.jpg")
    table = pipelines.markdown_table(["", "bytes", "PSNR"], rows)
    return {**made, "file": str(folder / "picture.mfc"), "table": table, "plot": str(folder / "rate.png")}


def _psnr(decoded: Any, picture: Any) -> float:
    """In dB; 100 where nothing is lost."""
    import numpy as np

    from nerf import psnr

    return psnr(np.asarray(decoded.convert("RGB")), np.asarray(picture))


def _shown(psnr: float) -> str:
    return "exact" if psnr >= 100 else f"{psnr:.2f} dB"


def _encoded(picture: Any, form: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=quality, **({"optimize": True} if form == "JPEG" else {"method": 6}))
    return buffer.getvalue()


def _jpeg(picture: Any, limit: int) -> bytes | None:
    """The best JPEG of at most so many bytes, if there is one."""
    best = None
    for quality in range(1, 96):
        data = _encoded(picture, "JPEG", quality)
        if len(data) > limit:
            break
        best = data
    return best


def _curve(picture: Any, form: str) -> list[tuple[int, float]]:
    from PIL import Image

    points = []
    for quality in (1, 5, 10, 20, 30, 45, 60, 75):
        data = _encoded(picture, form, quality)
        with Image.open(io.BytesIO(data)) as opened:
            points.append((len(data), _psnr(opened, picture)))
    return points


def plot(curves: dict[str, list[tuple[int, float]]], target: int, path: Path) -> None:
    """PSNR over bytes, up to four times the target."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        near = [point for point in points if point[0] <= 4 * target]
        axes.plot(*zip(*near, strict=True) if near else ((), ()), marker=".", label=name)
    axes.set(xlabel="bytes", ylabel="PSNR (dB)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=100)


def examples(root: Path) -> list[str]:
    """A face of NASA's archive and a thing of nano's world, written once."""
    from PIL import Image

    from pipelines.nano import world

    folder = root / "examples" / "codec"
    paths = [folder / "face.png", folder / "cactus.png"]
    if not all(path.is_file() for path in paths):
        from skimage import data

        folder.mkdir(parents=True, exist_ok=True)
        face = Image.fromarray(data.astronaut()).crop((150, 0, 310, 160))
        face.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(paths[0])
        world.render_all(world.reference_scenes("cactus", 1))[0].save(paths[1])
    return [str(path) for path in paths]


def tab(studio: Studio, visitor: gr.BrowserState) -> None:
    """Build the tab."""
    gr.Markdown(
        f"A picture becomes a small network, and the network a file. Pictures are brought to {SIDE} pixels, because the"
        " codec is thorough and slow."
    )
    with gr.Row():
        with gr.Column():
            picture = gr.File(label="Picture", file_types=["image"], height=160)
            gr.Examples(examples(studio.root), picture, label="Examples")
            size = gr.Slider(200, 4000, 900, step=50, label="Bytes at most")
            with gr.Row():
                start = gr.Button("Compress", variant="primary")
                stop = gr.Button("Cancel")
        with gr.Column():
            compared = gr.ImageSlider(label="Input and decoded: drag the line", interactive=False, height=280)
            gallery = gr.Gallery(label="Input, decoded, JPEG", columns=3, height=200)
            table = gr.Markdown(elem_id="rates")
            curve = gr.Image(label="PSNR over bytes", interactive=False, height=260, alt_text="PSNR over bytes")
            file = gr.File(label="The compressed file", height=90)

    @job
    def on_code(
        picture: str | None, size: int, visitor: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[tuple[str, str]], str, str, str, tuple[str, str]]:  # fmt: skip
        if not picture:
            raise refusal("there is no picture yet; drop one")
        made = studio.work(visitor, code, progress=progress, file=picture, target_bytes=int(size))
        shown = [(made[name], name) for name in ("input", "decoded", "jpeg") if name in made]
        return shown, made["table"], made["file"], made["plot"], (made["input"], made["decoded"])

    start.click(
        on_code, [picture, size, visitor], [gallery, table, file, curve, compared],
        api_name="compress", concurrency_id="work", concurrency_limit=1,
    )  # fmt: skip
    stop.click(studio.cancel, visitor, None, api_name=False, queue=False)
