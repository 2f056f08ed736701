"""Pictures and spectrograms to latents and back, in the precision that the autoencoder needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from jaxtyping import Float
from torch import Tensor


def encode(vae: AutoencoderKL, pixels: Float[Tensor, "b c h w"]) -> DiagonalGaussianDistribution:
    """The posterior of ``pixels`` in [-1, 1]; its samples are not yet scaled."""
    with _enough_precision(vae) as dtype:
        return vae.encode(pixels.to(dtype)).latent_dist


def decode(vae: AutoencoderKL, latents: Float[Tensor, "b z y x"]) -> Float[Tensor, "b c h w"]:
    """Pictures, in [-1, 1] except for overshoots, or spectrograms of scaled ``latents``."""
    with _enough_precision(vae) as dtype:
        return vae.decode(latents.to(dtype) / vae.config.scaling_factor, return_dict=False)[0]


@contextmanager
def _enough_precision(vae: AutoencoderKL) -> Iterator[torch.dtype]:
    """The autoencoder in fp32 for one that is loaded in fp16 and overflows there, which `force_upcast` says."""
    dtype = vae.dtype
    upcast = dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(torch.float32)
    try:
        yield vae.dtype
    finally:
        if upcast:
            vae.to(dtype)
