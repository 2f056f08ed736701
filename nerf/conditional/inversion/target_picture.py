"""The input of inversion: a square picture of an object on white, with the object's mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 16
"""Smallest allowed length of the shorter side, in pixels."""
PLAIN = 0.08
"""A background is plain if three quarters of the rim's pixels differ from its median colour by at most this much, in
0..1 of the channel with the largest difference."""
APART = 0.06
"""A pixel belongs to the object if it differs from the plain background by more than this, in 0..1 of the channel with
the largest difference."""
LEAST, MOST = 0.005, 0.9
"""Smallest and largest share of the picture's area that an object may take."""


def stacked(rgb: Float[Tensor, "*n h w 3"], alpha: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n 4 h w"]:
    """Pictures and masks as four channels."""
    return torch.cat([rgb, alpha[..., None]], -1).movedim(-1, -3)


@dataclass(frozen=True)
class Target:
    """A square picture of an object with its mask."""

    rgb: Float[Tensor, "s s 3"]
    """Colour on white, in 0..1."""
    alpha: Float[Tensor, "s s"]
    """Mask of the object, in 0..1."""

    @property
    def channels(self) -> Float[Tensor, "4 s s"]:
        """Colour and mask, `stacked`."""
        return stacked(self.rgb, self.alpha)

    def resized(self, size: int) -> Target:
        """Copy with another side in pixels."""
        if size == len(self.alpha):
            return self
        values = F.interpolate(self.channels[None], (size, size), mode="bilinear", antialias=True)[0]
        values = values.clamp(0, 1).permute(1, 2, 0)
        return Target(values[..., :3].contiguous(), values[..., 3].contiguous())


def target_of(image: Image.Image, size: int, mask: Image.Image | None = None) -> Target:
    """Separate the object from its background, pad to a square with white, and resize.

    Args:
        image: picture with a transparent or plain background. The object should be whole and near the middle, as in the
            family's pictures.
        size: width and height of the result in pixels.
        mask: white where the object is, with the picture's size; it replaces transparency and plain background.

    Raises:
        ValueError: the picture is too small, has no plain background or shows no object; or the mask has another size.
    """
    if min(image.size) < SMALLEST:
        raise ValueError(f"the picture has {image.width}x{image.height} pixels; give one of at least {SMALLEST} a side")
    rgba = torch.from_numpy(np.array(image.convert("RGBA"))).float() / 255
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    if mask is not None:
        if mask.size != image.size:
            raise ValueError(
                f"the mask has {mask.width}x{mask.height} pixels, its picture {image.width}x{image.height}; make them"
                " the same size"
            )
        alpha = torch.from_numpy(np.array(mask.convert("L"))).float() / 255
    elif bool((alpha > 0.99).all()):
        alpha = _apart_from_ground(rgb)
    share = float(alpha.mean())
    if share < LEAST:
        raise ValueError(f"the picture shows no object ({share:.1%} of it); give one in which it is seen whole")
    if share > MOST:
        raise ValueError(f"the object takes {share:.0%} of the picture; give one with background around it, or a mask")
    white = rgb * alpha[..., None] + 1 - alpha[..., None]
    values = stacked(white, alpha)
    height, width = alpha.shape
    across, down = max(height - width, 0), max(width - height, 0)
    sides = (across // 2, across - across // 2, down // 2, down - down // 2)
    values = torch.cat([F.pad(values[:3], sides, value=1.0), F.pad(values[3:], sides)])
    values = values.permute(1, 2, 0)
    return Target(values[..., :3], values[..., 3]).resized(size)


def _apart_from_ground(rgb: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    """Mask of the pixels that differ from the rim's median colour."""
    rim = torch.cat([rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1]])
    ground = rim.median(0).values
    if float((rim - ground).abs().amax(-1).quantile(0.75)) > PLAIN:
        raise ValueError("the picture's background is not plain; give a mask, or transparency around the object")
    return ((rgb - ground).abs().amax(-1) > APART).float()


def on_white(image: Image.Image) -> Image.Image:
    """An exemplar as input of a scorer: RGB on white, padded to a square with white.

    Raises:
        ValueError: all pixels have the same colour.
    """
    image = image.convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    square = square.convert("RGB")
    if all(low == high for low, high in square.getextrema()):  # pyright: ignore[reportGeneralTypeIssues]
        raise ValueError("the exemplar shows no object: all its pixels are equal; give a picture of an object")
    return square
