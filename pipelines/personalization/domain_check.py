"""Whether pictures look like those that the embedded text-to-image model knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mappers.hub import resolve

from ..autoencoder import decode, encode
from ..images import square

logger = logging.getLogger(__name__)

LIMIT = 0.075
"""Largest mean share of unexplained variance that pictures of nano's world have.

It lies between four renders of each of the 23 held-out objects (one, a crab, is above; the others reach 0.068) and
photographs of nine things (one is below, at 0.062).
"""


def is_nano(model: str | Path) -> bool:
    """Whether a model is the embedded one, by its id or its folder."""
    nano = resolve("nano", "text-to-image")
    return str(model) == "nano" or (Path(model).is_dir() and str(Path(model).resolve()) == nano)


@torch.no_grad()
def unexplained_variance(vae: AutoencoderKL, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """The share, in 0..1, of each picture's variance that the model's autoencoder does not reconstruct.

    What the autoencoder does not reconstruct cannot be learned by any word. The squared error alone would not tell: it
    is small for blurred pictures too.

    Args:
        vae: the autoencoder.
        pictures: in [-1, 1].
    """
    rows = []
    for picture in pictures.to(vae.device).split(1):
        kept = decode(vae, encode(vae, picture).mode() * vae.config.scaling_factor).clamp(-1, 1)
        variance = picture.float().var((2, 3)).mean()
        rows.append((kept - picture).float().square().mean() / variance.clamp(min=1e-4))
    return torch.stack(rows).cpu()


def unknown_to_nano(pictures: Sequence[Image.Image]) -> Float[Tensor, " n"]:
    """`unexplained_variance` of pictures of any size, with the autoencoder of the embedded text-to-image model."""
    vae = _nano_autoencoder()
    rows = np.stack([np.asarray(square(picture, vae.config["sample_size"])) for picture in pictures])
    return unexplained_variance(vae, torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 127.5 - 1)


@cache
def _nano_autoencoder() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(resolve("nano", "text-to-image"), subfolder="vae").eval()


def warn_if_out_of_domain(vae: AutoencoderKL, pictures: Float[Tensor, "n 3 h w"]) -> None:
    """Warn when ``pictures``, in [-1, 1], are unlike those that nano was trained on, by the mean over the pictures."""
    lost = float(unexplained_variance(vae, pictures).mean())
    if lost > LIMIT:
        logger.warning(
            "the pictures are far from what nano knows: its autoencoder loses %.1f %% of them, of pictures of its own "
            "world seldom more than %.1f %%. Expect a poor similarity; give model= a Stable Diffusion folder or hub id "
            "instead",
            100 * lost,
            100 * LIMIT,
        )
