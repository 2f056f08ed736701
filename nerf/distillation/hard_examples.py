"""PVD-AL's pools of the examples with the greatest errors: cameras, rays and points (arXiv 2304.04012, section 3.3)."""

from __future__ import annotations

import dataclasses
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mappers.training.draws import Draws

from ..cameras import Cameras, Rays
from ..rendering.compositing import Rendered
from ..rendering.sampling import Samples
from ..settings import DistillConfig
from ..viewpoints import Viewpoints

SHARE = 0.1
"""The worst tenth fills a pool, and a tenth of a batch comes from it."""
TURN = math.pi / 20
"""Largest random rotation of a hard camera about each axis before it is used again, radians."""
CAMERAS, RAYS = 128, 16_384
"""Sizes of the pools."""
POINTS, OPAQUE = 0.3, 0.5
"""Share of a ray's samples that count as important, and the least opacity of a ray that has such samples."""


class HardExamples(nn.Module):
    """The pools as buffers, so that a resumed run continues with them. A pool that is switched off replaces nothing."""

    poses: Tensor
    camera_errors: Tensor
    pool: Tensor
    ray_errors: Tensor

    def __init__(self, config: DistillConfig, viewpoints: Viewpoints):
        super().__init__()
        self.config = config
        self.center = torch.tensor(viewpoints.center)
        cameras, rays = CAMERAS * config.hard_cameras, RAYS * config.hard_rays
        self.register_buffer("poses", torch.zeros(cameras, 3, 4))
        self.register_buffer("camera_errors", torch.full((cameras,), -1.0))
        self.register_buffer("pool", torch.zeros(rays, 9))
        self.register_buffer("ray_errors", torch.full((rays,), -1.0))
        self.step_cameras: Cameras = viewpoints.draw(0, torch.Generator())
        """Cameras of the step that `choose_cameras` began."""

    def choose_cameras(self, fresh: Cameras, generator: torch.Generator) -> None:
        """Begin a step with ``fresh`` cameras, one in ten of them replaced by a turned one of the pool.

        None is replaced as long as the pool is empty.
        """
        self.step_cameras = fresh
        known = int((self.camera_errors >= 0).sum())
        if not known:
            return
        replaced = torch.rand(len(fresh), generator=generator) < SHARE
        chosen = torch.randint(known, (len(fresh),), generator=generator)
        angles = (torch.rand(len(fresh), 3, generator=generator) * 2 - 1) * TURN
        order = self.camera_errors.argsort(descending=True).cpu()
        poses = self.poses.cpu()[order[chosen]]
        turn, middle = rotations(angles), self.center[:, None]
        turned = torch.cat([turn @ poses[:, :, :3], turn @ (poses[:, :, 3:] - middle) + middle], -1)
        mixed = torch.where(replaced[:, None, None], turned, fresh.poses)
        self.step_cameras = dataclasses.replace(fresh, poses=mixed)

    def rays(self, fresh: Rays, draws: Draws) -> Rays:
        """The last tenth of the rays replaced by the pool's, once it is full."""
        if not len(self.pool) or (self.ray_errors < 0).any():
            return fresh
        count = int(len(fresh) * SHARE)
        u = draws.rows("hard rays", self.config.train.batch_size, 1)[:count, 0].cpu()
        rows = self.pool.cpu()[(u * len(self.pool)).long()]
        kept = fresh[: len(fresh) - count]
        parts = rows.split(3, -1)
        values = (torch.cat([a, b]) for a, b in zip((kept.origins, kept.directions, kept.views), parts, strict=True))
        return Rays(*values)

    @torch.no_grad()
    def record(self, rays: Rays, errors: Float[Tensor, " b"], draws: Draws) -> None:
        """Put the worst cameras and rays of this step into the pools, for those with the smallest errors there."""
        if len(self.pool):
            worst = errors.topk(max(int(len(errors) * SHARE), 1)).indices
            rows = torch.cat([rays.origins, rays.directions, rays.views], -1)[worst]
            _replace(self.pool, self.ray_errors, rows, errors[worst])
        if len(self.poses):
            count = len(self.step_cameras)
            index = torch.tensor(draws.indices, device=errors.device) * count // self.config.train.batch_size
            total = errors.new_zeros(count).index_add(0, index, errors)
            seen = torch.bincount(index, minlength=count)
            average = total / seen.clamp(min=1)
            _replace(self.poses, self.camera_errors, self.step_cameras.poses.to(errors.device), average)


def _replace(pool: Tensor, scores: Tensor, rows: Tensor, fresh: Float[Tensor, " n"]) -> None:
    """Replace the pool's rows of least error by ``rows`` with greater ones; older errors fade by 0.5 % a step."""
    scores.mul_(torch.where(scores > 0, 0.995, 1.0))
    count = min(len(rows), len(pool))
    order = fresh.argsort(descending=True)[:count]
    places = scores.argsort()[:count]
    better = fresh[order] > scores[places]
    pool[places[better]] = rows[order[better]]
    scores[places[better]] = fresh[order[better]]


def heaviest_samples(samples: Samples, student: Rendered, teacher: Rendered) -> Bool[Tensor, " m"]:
    """The samples with the greatest weights (the top 30 %) on each opaque ray, by either field."""
    return _heaviest(samples, student) | _heaviest(samples, teacher)


def _heaviest(samples: Samples, rendered: Rendered) -> Bool[Tensor, " m"]:
    weights = rendered.weights.detach()
    # Sort by ray, and within a ray by falling weight: weights are below 1, so rays never mix.
    order = (samples.ray.double() - 0.999 * weights.double()).argsort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    place = place - samples.first[samples.ray]
    opaque = rendered.opacity.detach()[samples.ray] >= OPAQUE
    return opaque & (place < (samples.count[samples.ray] * POINTS).ceil())


def rotations(angles: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotations about x, then y, then z of the world."""
    result = torch.eye(3).expand(len(angles), 3, 3)
    for axis in range(3):
        i, j = [k for k in range(3) if k != axis]
        step = torch.eye(3).repeat(len(angles), 1, 1)
        step[:, i, i] = step[:, j, j] = angles[:, axis].cos()
        step[:, i, j], step[:, j, i] = -angles[:, axis].sin(), angles[:, axis].sin()
        result = step @ result
    return result
