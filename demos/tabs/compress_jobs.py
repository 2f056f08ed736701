"""What the tab Compress does: a picture as a small file, and as JPEG and AVIF of the same size; no page in here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

SIDE = 128
"""Pixels of the longer side that a picture is brought to: a patch of 32x32 takes about half a second of a core."""
SHARES = (0.25, 0.5, 0.75)
"""Leading shares of the file that are decoded too: it begins with what matters most."""
OTHERS = {"JPEG": {"optimize": True, "subsampling": "4:2:0"}, "AVIF": {"speed": 4}}
"""Codecs to compare with, and their settings."""
QUALITIES = range(1, 96)


def code(
    file: str, part: tuple[float, float] | None, target_bytes: int | None, target_psnr: float | None, folder: Path
) -> dict[str, Any]:
    """Compress a picture, decompress it, and do the same with JPEG and AVIF; runs in the worker.

    Args:
        file: the picture.
        part: the point around which a square of `SIDE` pixels is taken, in shares of width and height; None takes the
            whole picture, made smaller.
        target_bytes: size of the file at most; or None.
        target_psnr: quality at least, in dB; or None.
        folder: where the files go.
    """
    import pipelines

    picture = _region(pipelines.load_images([file])[0], part)
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / "input.png")
    targets = {"target_bytes": target_bytes, "target_psnr": target_psnr}
    done = pipelines.compress(folder / "input.png", folder / "picture.mfc", **targets)
    pipelines.decompress(folder / "picture.mfc", folder / "decoded.png")
    size = len(done.data)
    points = [
        (round(size * share), _psnr(pipelines.decompress(folder / "picture.mfc", share=share), picture))
        for share in SHARES
    ]
    curves = {"mapfield, a leading share of the file": [*points, (size, done.psnr)]}
    made: dict[str, Any] = {"input": str(folder / "input.png"), "decoded": str(folder / "decoded.png")}
    rows = [("mapfield", str(size), _shown(done.psnr))]
    for name in OTHERS:
        files = [_encoded(picture, name, quality) for quality in QUALITIES[::4]]
        curves[name] = [(len(data), _psnr(_decoded(data), picture)) for data in files]
        best = best_of(picture, name, size)
        if best is None:
            rows.append((name, f"no file of {size} bytes or less", ""))
            continue
        (folder / f"picture.{name.lower()}").write_bytes(best)
        decoded = _decoded(best)
        decoded.save(folder / f"{name.lower()}.png")
        made[name.lower()] = str(folder / f"{name.lower()}.png")
        rows.append((name, str(len(best)), _shown(_psnr(decoded, picture))))
    plot(curves, size, folder / "rate.png")
    table = pipelines.markdown_table(["", "bytes", "PSNR"], rows)
    return made | {
        "file": str(folder / "picture.mfc"), "table": table, "plot": str(folder / "rate.png"),
        "thumbnail": made["decoded"],
    }  # fmt: skip


def _region(picture: Any, part: tuple[float, float] | None) -> Any:
    from PIL import Image

    if part is None:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return picture
    width, height = min(SIDE, picture.width), min(SIDE, picture.height)
    left = min(max(0, round(part[0] * picture.width - width / 2)), picture.width - width)
    top = min(max(0, round(part[1] * picture.height - height / 2)), picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def _psnr(decoded: Any, picture: Any) -> float:
    """In dB; 100 where nothing is lost."""
    import numpy as np

    from nerf import psnr

    return psnr(np.asarray(decoded.convert("RGB")), np.asarray(picture))


def _shown(psnr: float) -> str:
    return "exact" if psnr >= 100 else f"{psnr:.2f} dB"


def _encoded(picture: Any, form: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=quality, **OTHERS[form])
    return buffer.getvalue()


def _decoded(data: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")


def best_of(picture: Any, form: str, limit: int) -> bytes | None:
    """The file of the highest quality of at most so many bytes, if there is one; sizes grow with quality."""
    low, high, best = QUALITIES[0], QUALITIES[-1], None
    while low <= high:
        middle = (low + high) // 2
        data = _encoded(picture, form, middle)
        if len(data) <= limit:
            low, best = middle + 1, data
        else:
            high = middle - 1
    return best


def plot(curves: dict[str, list[tuple[int, float]]], size: int, path: Path) -> None:
    """PSNR over bytes, up to twice the size of the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        near = sorted(point for point in points if point[0] <= 2 * size)
        axes.plot(*zip(*near, strict=True) if near else ((), ()), marker=".", label=name)
    axes.set(xlabel="bytes", ylabel="PSNR (dB)")
    figure.legend(loc="outside upper center", ncols=len(curves), fontsize="small", frameon=False)
    figure.savefig(path, dpi=100)


def examples(root: Path) -> list[str]:
    """A face of NASA's archive, a cat, and a thing of nano's world, written once."""
    from PIL import Image

    from pipelines.nano import world

    folder = root / "examples" / "compress"
    paths = [folder / "face.png", folder / "cat.png", folder / "cactus.png"]
    if not all(path.is_file() for path in paths):
        from skimage import data

        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.astronaut()).crop((130, 0, 330, 200)).save(paths[0])
        Image.fromarray(data.chelsea()).crop((75, 0, 375, 300)).save(paths[1])
        world.render_all(world.reference_scenes("cactus", 1))[0].save(paths[2])
    return [str(path) for path in paths]
