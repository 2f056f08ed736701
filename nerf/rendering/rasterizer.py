"""Pictures of Gaussian splats: project, sort by depth, find the tiles that each Gaussian reaches, and blend."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from ..cameras import Cameras
from ..fields.splat import SplatField
from .blending import FAINTEST, TILE, blend
from .projection import NEAREST, Projected, project
from .renderer import Picture


@dataclass(frozen=True)
class Rasterized:
    """A view with gradients."""

    color: Float[Tensor, "h w 3"]
    """Without a background."""
    opacity: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    """Sum of weight times depth along the camera's axis; divide by opacity for the mean depth."""


def rasterize(field: SplatField, camera: Cameras) -> Rasterized:
    """The view of the first of the cameras, without a background; differentiable in the Gaussians.

    Raises:
        ValueError: the camera has lens distortion or sees NDC.
    """
    if camera.distortion is not None or camera.ndc is not None:
        raise ValueError("splats are drawn by cameras without lens distortion and outside NDC; undistort the pictures")
    camera = camera.to(field.means.device)
    extent = float((field.bounds[1] - field.bounds[0]).max())
    seen = project(field.means, field.log_scales.exp(), field.quaternions, camera, nearest=NEAREST * extent)
    log_opacity = logsigmoid(field.opacity_logits) + seen.dimming.log()
    gaussian, first, count, corner = tile_lists(seen, log_opacity.detach(), camera.width, camera.height)
    directions = normalize(field.means - camera.positions[0], dim=-1)
    values = torch.cat([field.colors(directions), seen.depths[:, None]], 1)
    exponents = tile_exponents(seen, log_opacity, gaussian, corner)
    blended, left = blend(exponents, values.index_select(0, gaussian), first, count)
    across = -(-camera.width // TILE)
    picture = _assemble(torch.cat([blended, 1 - left[..., None]], -1), across, camera.width, camera.height)
    return Rasterized(picture[..., :3], picture[..., 4], picture[..., 3])


@torch.no_grad()
def draw_splats(field: SplatField, camera: Cameras, *, background: float = 1.0) -> Picture:
    """The view of the first of the cameras, on a grey level in 0..1."""
    view = rasterize(field, camera)
    # Pictures hold distances along rays.
    slant = (camera.picture_rays(0).directions @ camera.forward[0]).view(camera.height, camera.width).to(view.depth)
    depth = torch.where(view.opacity > 0.5, view.depth / slant / view.opacity.clamp(min=1e-6), 0.0)
    color = view.color + (1 - view.opacity)[..., None] * background
    return Picture(color.clamp(0, 1), view.opacity, depth)


@torch.no_grad()
def tile_lists(
    seen: Projected, log_opacity: Float[Tensor, " n"], width: int, height: int
) -> tuple[Int[Tensor, " m"], Int[Tensor, " t"], Int[Tensor, " t"], Float[Tensor, "m 2"]]:
    """Which Gaussians reach which tiles.

    Returns:
        The Gaussian of every pair, pairs sorted by tile and then by depth; each tile's first pair and number of pairs;
        the middle of each pair's tile in pixels.
    """
    across, down = -(-width // TILE), -(-height // TILE)
    # Where the Gaussian falls to FAINTEST: 2 ln(opacity / FAINTEST) standard deviations, squared.
    reach = 2 * (log_opacity - torch.tensor(FAINTEST).log())
    drawn = seen.visible & (reach > 0)
    half = (reach.clamp(min=0)[:, None] * seen.covariances[:, ::2]).sqrt()
    limits = torch.tensor([across, down], device=half.device)
    low = ((seen.means - half) / TILE).floor().long().clamp(min=0)
    high = torch.minimum(((seen.means + half) / TILE).floor().long() + 1, limits)
    size = (high - low).clamp(min=0) * drawn[:, None]
    order = seen.depths.argsort()
    order = order[size[order].prod(-1) > 0]
    size, low = size[order], low[order]
    number = size.prod(-1)
    pair = torch.repeat_interleave(torch.arange(len(order), device=order.device), number)
    place = torch.arange(len(pair), device=order.device) - (number.cumsum(0) - number)[pair]
    x = low[pair, 0] + place % size[pair, 0]
    y = low[pair, 1] + place // size[pair, 0]
    tile, by_tile = torch.sort(y * across + x, stable=True)
    count = torch.bincount(tile, minlength=across * down)
    middle = (torch.stack([x, y], -1)[by_tile] + 0.5) * TILE
    return order[pair[by_tile]], count.cumsum(0) - count, count, middle


def tile_exponents(
    seen: Projected, log_opacity: Float[Tensor, " n"], gaussian: Int[Tensor, " m"], middle: Float[Tensor, "m 2"]
) -> Float[Tensor, "m 6"]:
    """The logarithm of the alpha of each pair as the polynomial that `blending.pixel_basis` evaluates."""
    xx, xy, yy = seen.covariances.unbind(-1)
    conic = torch.stack([yy, -xy, xx], -1) / (xx * yy - xy * xy)[:, None]
    table = torch.cat([seen.means, conic, log_opacity[:, None]], -1).index_select(0, gaussian)
    at, (a, b, c, log_alpha) = table[:, :2] - middle, table[:, 2:].unbind(-1)
    x, y = at.unbind(-1)
    constant = log_alpha - 0.5 * (a * x * x + c * y * y) - b * x * y
    return torch.stack([constant, a * x + b * y, c * y + b * x, -0.5 * a, -b, -0.5 * c], -1)


def _assemble(tiles: Float[Tensor, "t p c"], across: int, width: int, height: int) -> Float[Tensor, "h w c"]:
    """Tiles of pixels as one picture."""
    grid = tiles.view(-1, across, TILE, TILE, tiles.shape[-1])
    return grid.transpose(1, 2).flatten(0, 1).flatten(1, 2)[:height, :width]
