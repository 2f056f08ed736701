"""An edit as a folder of files: pictures and a turntable before and after, the session, and a report."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mappers.files import check_outputs, replacing, writable_folder
from mappers.options import declared_by
from nerf.conditional.inversion.inversion import InversionConfig
from nerf.conditional.views import View, turntable_views
from nerf.export import write_film

from .editor import Editor, Method, Picture, edit_nerf
from .options import EditOptions, FolderOptions, ObjectOptions

PREVIEW = 64
"""Side of the turntable's pictures in pixels."""
FPS = 6
"""Pictures of the turntable per second."""
FILES = {"before": "before.png", "after": "after.png", "turntable": "turntable.gif", "session": "edit.safetensors"}
"""Names of the files."""
REPORT = "report.json"
"""Name of the report."""


@declared_by(FolderOptions, ObjectOptions, EditOptions)
def edit_to_folder(
    output: str | Path,
    *,
    model: str | Path = "nano-chairs",
    instance: int | None = None,
    seed: int | None = None,
    text: str | None = None,
    exemplar: Picture | None = None,
    image: Picture | None = None,
    mask: Picture | None = None,
    strength: float = 1.0,
    shape: bool = True,
    appearance: bool = True,
    clip: str | Path | None = None,
    method: Method | None = None,
    mapper: str | Path | None = None,
    size: int = 128,
    views: int = 12,
    overwrite: bool = False,
    inversion: InversionConfig | None = None,
) -> dict[str, Any]:
    """Edit an object; write before.png, after.png, turntable.gif (side by side), edit.safetensors and report.json.

    Without ``text`` and ``exemplar``, the object of ``image`` is only found.

    Args:
        inversion: settings of finding the picture's object.

    Returns:
        What report.json holds.

    Raises:
        FileNotFoundError, ValueError: an argument cannot be used; nothing is written then.
        FileExistsError: the folder has files of these names.
        OSError: the folder is not writable.
    """
    _check_request(image, instance, seed, text, exemplar, strength)
    read = [path for path in (image, mask, exemplar) if isinstance(path, str | Path)]
    folder = Path(output).expanduser()
    check_outputs([folder / name for name in (*FILES.values(), REPORT)], inputs=read, overwrite=overwrite)
    view, circle = View(size=size), turntable_views(views, PREVIEW)
    editor = edit_nerf(model, instance=instance, seed=seed, clip=clip, method=method, mapper=mapper)
    writable_folder(folder)
    report: dict[str, Any] = {"model": str(model), "clip": editor.scorer.name}
    if image is not None:
        started = time.monotonic()
        found = editor.invert(image, mask=mask, config=inversion)
        report["inversion"] = {
            "psnr": found.psnr, "azimuth": found.azimuth, "elevation": found.elevation, "seconds": _since(started),
        }  # fmt: skip
        view = found.view(size)
    report["object"] = editor.history.now.label
    if text is not None or exemplar is not None:
        started = time.monotonic()
        editor.apply(text, exemplar=exemplar, strength=strength, shape=shape, appearance=appearance)
        report["edit"] = {
            "target": editor.history.now.label, "strength": strength, "shape": shape, "appearance": appearance,
            "seconds": _since(started),
        }  # fmt: skip
    return _write(editor, folder, view, circle, report)


def _check_request(
    image: Picture | None,
    instance: int | None,
    seed: int | None,
    text: str | None,
    exemplar: Picture | None,
    strength: float,
) -> None:
    """Refuse two objects, a request without any work, and a strength that is no number."""
    if image is not None and (instance is not None or seed is not None):
        raise ValueError("give either a picture to find the object in, or an instance or seed, not both")
    if not math.isfinite(strength):
        raise ValueError(f"strength must be a finite number, got {strength}")
    if image is None and text is None and exemplar is None:
        raise ValueError("say what to do: give a text, an exemplar, or a picture to find an object in")


def _since(started: float) -> float:
    """Seconds since a time of `time.monotonic`."""
    return round(time.monotonic() - started, 2)


def _write(editor: Editor, folder: Path, view: View, circle: list[View], report: dict[str, Any]) -> dict[str, Any]:
    """Write all files of `edit_to_folder`, and return the report with its figures."""
    pictures = {name: editor.render(view, original=name == "before") for name in ("before", "after")}
    report["figures"] = figures(editor, pictures)
    for name, picture in pictures.items():
        with replacing(folder / FILES[name]) as temporary:
            picture.save(temporary)
    write_film(turntable_frames(editor, circle), folder / FILES["turntable"], fps=FPS)
    editor.save(folder / FILES["session"])
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def turntable_frames(editor: Editor, views: list[View]) -> list[np.ndarray]:
    """Frames of the object before and after its edits, side by side, one for each view."""
    sides = [[np.asarray(editor.render(view, original=original)) for view in views] for original in (True, False)]
    return [np.concatenate(pair, 1) for pair in zip(*sides, strict=True)]


def figures(editor: Editor, pictures: dict[str, Image.Image]) -> dict[str, dict[str, float]]:
    """Before and after: CLIP similarity of picture and target, and Mahalanobis distance of each code."""
    steps = {"before": editor.history.steps[0], "after": editor.history.now}
    rows = {}
    for name, step in steps.items():
        rows[name] = {
            "shape_deviation": float(editor.model.mahalanobis(step.shape_code, "shape")),
            "appearance_deviation": float(editor.model.mahalanobis(step.appearance_code, "appearance")),
        }
        if editor.target_embedding is not None:
            rows[name]["clip"] = float(editor.scorer.embed_pil([pictures[name]])[0] @ editor.target_embedding)
    return rows
