"""Trains splats on pictures: L1 and structural similarity of whole views (arXiv 2308.04079, equation 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d

from mappers.quality import psnr_of
from mappers.training.draws import Draws
from mappers.training.trainer import fit

from ..cameras import Cameras
from ..evaluation import validate_views
from ..fields.splat import SplatField
from ..rendering.rasterizer import Rasterized, draw_splats, rasterize
from ..runs import SplatRun
from ..scenes import Scene
from ..settings import RadianceConfig
from ..viewpoints import Viewpoints
from .relocation import relocate

WINDOW, SIGMA = 11, 1.5
"""Pixels of the window of structural similarity, and the standard deviation of its Gaussian."""
RELOCATED_UNTIL = 0.8
"""Share of the steps after which no Gaussian is moved any more."""


class SplatTask:
    """Whole views of the training pictures, on random backgrounds where pictures are transparent."""

    def __init__(self, scene: Scene, field: SplatField, config: RadianceConfig):
        self.scene, self.field, self.config = scene, field, config
        self.modules: Mapping[str, nn.Module] = {"field": Drawn(field)}
        self.rates = {f"field.field.{name}": rate for name, rate in field.rates().items()}
        self.photos = scene.split("train")
        self.test = scene.split("test" if scene.splits["test"] else "train")

    def begin_step(self, modules: Mapping[str, Callable[..., Any]], draws: Draws) -> None:
        """Move transparent Gaussians, every ``relocate_every`` steps."""
        every, until = self.config.relocate_every, RELOCATED_UNTIL * self.config.train.steps
        if every and draws.step and draws.step % every == 0 and draws.step < until:
            relocate(self.field, draws.shared_generator("relocation"))

    def batch(self, draws: Draws) -> list[tuple[Cameras, Tensor, Tensor, Tensor]]:
        """For each view its camera, colours, background and mask."""
        u = draws.rows("views", self.config.train.batch_size, 4).cpu()
        batch = []
        for row in u:
            index = int(row[0] * len(self.photos))
            background = row[1:] if self.scene.has_alpha else torch.ones(3)
            values = (self.photos.picture(index, background), background, self.photos.mask(index))
            batch.append((self.photos.camera(index), *(value.to(draws.device) for value in values)))
        return batch

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Any, draws: Draws) -> dict[str, Tensor]:
        losses, errors = [], []
        for camera, target, background, mask in batch:
            view = modules["field"](camera)
            color = torch.where(mask[..., None], view.color + (1 - view.opacity)[..., None] * background, target)
            similar = structural_similarity(color, target).mean()
            absolute = (color - target).abs().mean()
            losses.append(absolute * (1 - self.config.ssim) + (1 - similar) * self.config.ssim)
            errors.append((color - target).square().mean().detach())
        return {"loss": torch.stack(losses).mean(), "psnr": psnr_of(torch.stack(errors).mean())}

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float | Image.Image]:
        """Mean PSNR in dB of a few test views, and the first view next to its photo."""
        return validate_views(partial(draw_splats, self.field), self.test)


class Drawn(nn.Module):
    """A cloud whose views are computed in a call, as trainings of several processes need it."""

    def __init__(self, field: SplatField):
        super().__init__()
        self.field = field

    def forward(self, camera: Cameras) -> Rasterized:
        return rasterize(self.field, camera)


def structural_similarity(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
    """SSIM at every pixel with the Gaussian window of Wang and others (2004); differentiable.

    Outside the pictures there is black; values are in 0..1.
    """
    at = torch.arange(WINDOW, device=picture.device) - WINDOW // 2
    window = torch.exp(-at.square() / (2 * SIGMA**2))
    window = (window / window.sum()).to(picture)
    stacked = torch.cat([picture, truth, picture * picture, truth * truth, picture * truth], -1)
    planes = stacked.permute(2, 0, 1)[:, None]
    planes = conv2d(planes, window.view(1, 1, -1, 1), padding=(WINDOW // 2, 0))
    planes = conv2d(planes, window.view(1, 1, 1, -1), padding=(0, WINDOW // 2))
    a, b, aa, bb, ab = planes[:, 0].permute(1, 2, 0).split(3, -1)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * a * b + c1) * (2 * (ab - a * b) + c2)
    return top / ((a * a + b * b + c1) * (aa - a * a + bb - b * b + c2))


def train_splats(
    scene: Scene, field: SplatField, config: RadianceConfig, *, output: Path | None, resume: bool | Literal["auto"]
) -> SplatRun:
    """Train a cloud on the training pictures of a scene; see `nerf.train`."""
    task = SplatTask(scene, field, config)
    inputs = {"scene": scene.content, "family": field.name, "size": field.config, "settings": config}
    report = fit(task, config.train, output_dir=output, resume=resume, inputs=inputs)
    viewpoints = Viewpoints.of(scene.split("train").cameras)
    return SplatRun(field, viewpoints, scene.source, scene.downscale, report, format=scene.format)
