"""The auto-decoder objective: one code for each shape and each palette, learned with the field from posed pictures.

As in DeepSDF and CodeNeRF (arXiv 2109.01750); it takes minutes, while the paper's adversarial objective takes days. The
family renders new pictures in each step. Point supervision uses objects *between* two of the table, with the codes
between theirs, so that the codes between two training objects give plausible objects too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from mappers.quality import psnr
from mappers.training.draws import Draws

from ...cameras import Rays
from ...fields.conditional import ConditionalField
from ...rendering.compositing import composite
from ...rendering.sampling import Marching, sample_points
from ..families import FAMILIES
from ..families.splits import split_of
from ..model import ConditionalModel
from ..settings import CategoryConfig
from .occupancy_grids import ShapeGrids
from .point_supervision import PointSupervision, random_cameras, sample_supervision

NEAR_PIXELS = 3
"""Largest distance in pixels of a pixel near an object."""
TABLE_SHARE = 0.5
"""Share of the point supervision that uses objects of the table. With none, codes of different objects stay alike."""
EXTRAPOLATION = 0.25
"""Extrapolation of the point supervision beyond both of two objects, as a share of the way between them."""
MEASURED = 24
"""Pictures of training pairs, and of held-out pairs, that a validation renders."""


class Codes(nn.Module):
    """Tables of codes, indexed by shape and by palette."""

    def __init__(self, shapes: int, shape_code: int, palettes: int, appearance_code: int, start: float):
        super().__init__()
        self.shape = nn.Parameter(torch.randn(shapes, shape_code) * start)
        self.appearance = nn.Parameter(torch.randn(palettes, appearance_code) * start)

    def forward(
        self, shape: Int[Tensor, " n"], palette: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n a"]]:
        return self.shape[shape], self.appearance[palette]


@dataclass(frozen=True)
class Pictures:
    """Rays of some pictures with their colours."""

    picture: Int[Tensor, " r"]
    """Picture that each ray belongs to."""
    rays: Rays
    target: Float[Tensor, "r 3"]
    background: Float[Tensor, "r 3"]
    jitter: Float[Tensor, " r"]


@dataclass(frozen=True)
class Batch:
    """Pictures of some objects, and point supervision of objects between each and a partner."""

    shape: Int[Tensor, "b 2"]
    """Training shapes of each object and of its partner."""
    palette: Int[Tensor, "b 2"]
    """Training palettes of each object and of its partner."""
    share: Float[Tensor, " b"]
    """Place of the supervised object on the way from the object (0) to the partner (1)."""
    supervision: PointSupervision
    pictures: Pictures | None
    """Pictures of the objects themselves; None in the first steps."""


class DecoderTask:
    """Squared error of rays in pictures of random (shape, palette) pairs, without the held-out pairs."""

    def __init__(self, config: CategoryConfig):
        self.config, self.family = config, FAMILIES[config.family]
        self.split = split_of(self.family, config.shapes, config.palettes)
        self.field = ConditionalField(self.family.bounds, config.field)
        sizes = config.field.shape_code, config.field.appearance_code
        self.codes = Codes(config.shapes, sizes[0], config.palettes, sizes[1], config.code_start)
        self.grids = ShapeGrids(self.family.bounds, config.shapes, config.grid)
        self.modules: Mapping[str, nn.Module] = {"field": self.field, "codes": self.codes, "grids": self.grids}
        self.rates = {"codes": config.code_rate}
        self.marching = Marching.through(self.family.bounds, config.intervals, near=0.0, far=float("inf"))

    def batch(self, draws: Draws) -> Batch:
        config = self.config
        shape = draws.integers("shape", config.shapes, (2,)).cpu()
        palette = draws.integers("palette", config.palettes, (2,)).cpu()
        for _ in range(2):  # past the last palette the next one may be held out too, but not the one after it
            held = self.split.held_out_pairs[shape, palette]
            palette = torch.where(held, (palette + 1) % config.palettes, palette)
        chance, way = draws.uniform("share", (2,)).cpu().unbind(1)
        share = torch.where(chance < TABLE_SHARE, 0.0, way * (1 + 2 * EXTRAPOLATION) - EXTRAPOLATION)
        shapes, palettes = self.split.shapes[shape], self.split.palettes[palette]
        shape_between, palette_between = (between(ends, share).clamp(0, 1) for ends in (shapes, palettes))
        supervision = sample_supervision(self.family, shape_between, palette_between, config.points, draws)
        pictures = self._pictures(shapes[:, 0], palettes[:, 0], draws) if draws.step >= config.taught_steps else None
        device = draws.device
        return Batch(shape.to(device), palette.to(device), share.to(device), supervision, pictures)

    def _pictures(self, shapes: Float[Tensor, "b p"], palettes: Float[Tensor, "b q"], draws: Draws) -> Pictures:
        """Rays of one picture of each object."""
        count, size = self.config.rays, self.config.size
        cameras = random_cameras(self.family, size, draws)
        rgb, alpha, _ = self.family.render(shapes, palettes, cameras)
        uniform = draws.uniform("rays", (count, 5)).cpu()
        chances = self._chances(alpha).cumsum(1)
        pixel = torch.searchsorted(chances, uniform[..., 4].contiguous() * chances[:, -1:]).clamp(max=size * size - 1)
        picture = torch.arange(len(shapes)).repeat_interleave(count)
        pixel, uniform = pixel.flatten(), uniform.flatten(0, 1)
        background, hit = uniform[:, :3], alpha.flatten(1)[picture, pixel][:, None] > 0
        # Random background colours, so that the field cannot explain the object by empty space.
        target = torch.where(hit, rgb.flatten(1, 2)[picture, pixel], background)
        rays = cameras.rays(picture, torch.stack([pixel % size, pixel // size], -1) + 0.5)
        device = draws.device
        return Pictures(
            picture.to(device), rays.to(device), target.to(device), background.to(device), uniform[:, 3].to(device)
        )

    def _chances(self, alpha: Float[Tensor, "b h w"]) -> Float[Tensor, "b p"]:
        """Probability of each pixel to be drawn: most are near the object, some anywhere."""
        near = max_pool2d(alpha[:, None], 2 * NEAR_PIXELS + 1, stride=1, padding=NEAR_PIXELS)[:, 0].flatten(1)
        share = self.config.near_object
        return share * near / near.sum(1, keepdim=True).clamp(min=1) + (1 - share) / near.shape[1]

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Batch, draws: Draws) -> dict[str, Tensor]:
        codes = [
            table.unflatten(0, (-1, 2)) for table in modules["codes"](batch.shape.flatten(), batch.palette.flatten())
        ]
        supervision, pictures = batch.supervision, batch.pictures
        points, views = [supervision.points], [supervision.views]
        of = [[between(code, batch.share)[supervision.owner]] for code in codes]
        if pictures is not None:
            self._renew(draws.step)
            samples = self.grids.march(pictures.rays, batch.shape[pictures.picture, 0], self.marching, pictures.jitter)
            points.append(sample_points(pictures.rays, samples))
            views.append(pictures.rays.views[samples.ray])
            for mixed, code in zip(of, codes, strict=True):
                mixed.append(code[:, 0][pictures.picture[samples.ray]])
        shape_code, appearance_code = (torch.cat(parts) for parts in of)
        density, color = modules["field"](torch.cat(points), torch.cat(views), shape_code, appearance_code)
        count = len(supervision.points)
        values = supervision.loss(density[:count], color[:count])
        if pictures is not None:
            drawn = composite(samples, density[count:], color[count:], pictures.background).color
            error = (drawn - pictures.target).square().mean()
            values = {
                "loss": error + self.config.lesson_weight * values["loss"],
                "entropy": values["entropy"],
                "mse": error,
            }
        size = sum(code.square().mean() for code in codes)
        return {**values, "loss": values["loss"] + self.config.code_weight * size}

    def _renew(self, step: int) -> None:
        """Update the grids of two shapes; at the first step with pictures those of all."""
        config = self.config
        if step == config.taught_steps:
            self.grids.update(self.field, self.codes.shape, list(range(config.shapes)))
        elif step % config.grid_every == 0:
            first = 2 * step // config.grid_every
            self.grids.update(self.field, self.codes.shape, [(first + i) % config.shapes for i in range(2)])

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float]:
        """Mean PSNR in dB of whole pictures of training pairs and of held-out pairs."""
        return measured(self.model(), self.config)

    def model(self) -> ConditionalModel:
        """The trained model; a copy."""
        tables = self.codes.shape.detach().cpu().clone(), self.codes.appearance.detach().cpu().clone()
        return ConditionalModel(self.field.copied(), *tables, self.family.name)


def between(ends: Float[Tensor, "b 2 k"], share: Float[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Linear interpolation from the first (share 0) to the second (share 1)."""
    return torch.lerp(ends[:, 0], ends[:, 1], share[:, None])


def measured(model: ConditionalModel, config: CategoryConfig, count: int = MEASURED) -> dict[str, float]:
    """Mean PSNR in dB of pictures of training pairs and of held-out pairs."""
    family = model.family
    split = split_of(family, len(model.shape_codes), len(model.appearance_codes))
    figures = {}
    for name, wanted in (("train", ~split.held_out_pairs), ("held_pairs", split.held_out_pairs)):
        pairs = wanted.nonzero()
        generator = torch.Generator().manual_seed(7)
        pairs = pairs[torch.randperm(len(pairs), generator=generator)[:count]]
        cameras = family.cameras(len(pairs), config.size, generator)
        truth, _, _ = family.render(split.shapes[pairs[:, 0]], split.palettes[pairs[:, 1]], cameras)
        values = []
        for i, (shape, palette) in enumerate(pairs.tolist()):
            drawn = model.render(model.shape_codes[shape], model.appearance_codes[palette], cameras[i])
            values.append(float(psnr(drawn.color, truth[i])))
        figures[f"psnr_{name}"] = sum(values) / len(values)
    return figures
