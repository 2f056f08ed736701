"""Metrics and comparison pictures of views that a field was not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from tqdm.auto import tqdm

from mappers.extras import extra
from mappers.files import replacing, writable_folder
from mappers.pixels import to_bytes
from mappers.quality import psnr

from .cameras import Cameras
from .rendering.renderer import Picture
from .scenes import Scene

Draw = Callable[[Cameras], Picture]
"""A function that renders the view of a camera."""
VALIDATION_VIEWS = 3
"""Views drawn at a validation: test views, or random ones in which a student is compared with its teacher."""
WINDOW = 11
"""Pixels a side of the window of `ssim`."""
SHEET_ROWS = 8
"""Views on a contact sheet, at most."""


def psnr_between(draw: Draw, other: Draw, cameras: Cameras) -> float:
    """Mean PSNR in dB between the views of two renderers, one view at a time."""
    views = [cameras[index] for index in range(len(cameras))]
    return float(np.mean([psnr(draw(camera).color, other(camera).color) for camera in views]))


def validate_views(draw: Draw, photos: Scene, *, views: int = VALIDATION_VIEWS) -> dict[str, float | Image.Image]:
    """Mean PSNR in dB of the first views of a split, masked pixels left out, and the first view next to its photo."""
    figures, first = [], None
    for index in range(min(views, len(photos))):
        color, truth, mask = draw(photos.camera(index)).color.cpu(), photos.picture(index), photos.mask(index)
        first = torch.cat([color, truth], 1) if first is None else first
        if mask.any():
            figures.append(psnr(color[mask], truth[mask]))
    assert first is not None
    return {"psnr": sum(figures) / max(len(figures), 1), "view": picture_of(first)}


def ssim(
    picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"] | None = None
) -> float:
    """Structural similarity with the Gaussian window of Wang and others (2004), sigma 1.5.

    Args:
        picture: in 0..1, with sides of at least `WINDOW`; values outside are cut.
        truth: in 0..1.
        mask: the pixels over whose windows the mean is taken; None: all whose windows lie inside the picture.
    """
    with extra("fields"):
        from skimage.metrics import structural_similarity
    found = structural_similarity(
        picture.clamp(0, 1).cpu().numpy(), truth.cpu().numpy(), channel_axis=-1, data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
    )  # fmt: skip
    mean, values = cast("tuple[np.floating, np.ndarray]", found)
    return float(mean) if mask is None else float(values[mask.cpu().numpy()].mean())


def lpips_metric() -> Callable[[Tensor, Tensor], float] | None:
    """A function for the LPIPS (AlexNet) of two pictures; None if the package or its network's weights are missing."""
    if find_spec("lpips") is None:
        return None
    import lpips  # pyright: ignore[reportMissingImports]

    try:
        network = lpips.LPIPS(net="alex", verbose=False).eval()
    except OSError:  # the backbone's weights are a download of their own
        return None

    def measure(picture: Tensor, truth: Tensor) -> float:
        pair = torch.stack([picture, truth]).permute(0, 3, 1, 2).cpu() * 2 - 1
        with torch.no_grad():
            return float(network(pair[:1], pair[1:]))

    return measure


def evaluate_views(
    draw: Draw, scene: Scene, *, split: str = "test", output_dir: Path | None = None
) -> dict[str, float]:
    """Compare rendered views with their photos, both on white. Pixels that masks leave out do not count.

    Args:
        draw: renders the view of a camera.
        scene: photos and cameras.
        split: which pictures of the scene.
        output_dir: where ``evaluation.json`` (figures of every view), ``evaluation.png`` (a contact sheet: photo,
            view, error, depth) and the folder ``evaluation/<split>`` (every view) go; None writes nothing.

    Returns:
        Means over the views: psnr in dB, ssim where a picture has the size of its window, and lpips where its weights
        exist.

    Raises:
        ValueError: the scene has no such split, or the split is empty.
        OSError: the output folder is not writable.
    """
    photos = scene.split(split)
    perceptual = lpips_metric()
    views = None if output_dir is None else writable_folder(output_dir / "evaluation" / split)
    rows, strips = [], []
    for index in tqdm(range(len(photos)), unit="view", desc="evaluating", disable=None):
        mask = photos.mask(index)
        if not mask.any():
            continue
        view, truth = draw(photos.camera(index)), photos.picture(index)
        color = view.color.cpu()
        row: dict[str, float | str] = {"view": photos.names[index], "psnr": psnr(color[mask], truth[mask])}
        # What a mask leaves out may be anything: the photo's own pixels differ in nothing.
        compared = torch.where(mask[..., None], color, truth)
        if min(truth.shape[:2]) >= WINDOW:
            row["ssim"] = ssim(compared, truth, None if mask.all() else mask)
        if perceptual:
            row["lpips"] = perceptual(compared, truth)
        rows.append(row)
        if views is not None:
            with replacing(views / f"{index:03d}.png") as temporary:
                picture_of(color).save(temporary)
        if len(strips) < SHEET_ROWS:
            error = error_map(color, truth) * mask[..., None]
            strips.append(torch.cat([truth, color, error, depth_map(view)], 1))
    if not rows:
        raise ValueError(f"masks leave out every pixel of the split {split!r} of {scene.name}; correct the masks")
    names = [name for name in ("psnr", "ssim", "lpips") if any(name in row for row in rows)]
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    if output_dir is not None:
        with replacing(output_dir / "evaluation.png") as temporary:
            picture_of(_stacked(strips)).save(temporary)
        with replacing(output_dir / "evaluation.json") as temporary:
            temporary.write_text(json.dumps({"split": split, "mean": means, "views": rows}, indent=2) + "\n", "utf-8")
    return means


def _stacked(strips: Sequence[Float[Tensor, "h w 3"]]) -> Float[Tensor, "H W 3"]:
    """Strips one below the other, narrower ones with white on their right."""
    width = max(strip.shape[1] for strip in strips)
    return torch.cat([pad(strip, (0, 0, 0, width - strip.shape[1]), value=1.0) for strip in strips])


def picture_of(values: Float[Tensor, "h w 3"]) -> Image.Image:
    """Values in 0..1 as an 8-bit picture."""
    return Image.fromarray(to_bytes(values).numpy())


def error_map(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
    """Mean absolute error over the channels: black is 0, the brightest colour a quarter of the range or more."""
    return _colored((picture - truth).abs().mean(-1) * 4, "magma")


def depth_map(view: Picture) -> Float[Tensor, "h w 3"]:
    """Distance from near (bright) to far, each view in its own range; black where no ray hit anything."""
    depth, hit = view.depth.cpu(), (view.opacity > 0.5).cpu()
    if not hit.any():
        return torch.zeros(*depth.shape, 3)
    low, high = depth[hit].amin(), depth[hit].amax()
    return _colored(1 - (depth - low) / (high - low).clamp(min=1e-6) * 0.9, "viridis") * hit[..., None]


def _colored(values: Float[Tensor, "h w"], name: str) -> Float[Tensor, "h w 3"]:
    rgba = matplotlib.colormaps[name](values.clamp(0, 1).cpu().numpy())
    return torch.from_numpy(rgba[..., :3]).float()
