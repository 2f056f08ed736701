"""The nano mel autoencoder: log-mel spectrograms of 256 x 64 to latents of 64 x 16, a small AutoencoderKL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from ...audio.mel import log_mel
from ..world.moments import Clips
from .vae import AutoencoderPass

LATENTS = 8
"""Channels."""
LATENT_SHAPE = (LATENTS, 64, 16)
"""Shape of a clip's latents: channels, frames / 4, bins / 4."""
MEAN, SPREAD = -7.0, 3.0
"""Approximate mean and standard deviation of the world's log-mel values."""


def build_mel_vae() -> AutoencoderKL:
    """16, 32 and 48 channels without attention; AudioLDM's with fewer channels.

    The first and the last convolution are initialized so that they normalize and denormalize the values; no statistics
    have to be stored besides the weights.
    """
    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=256,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        vae.encoder.conv_in.weight /= SPREAD
        vae.decoder.conv_out.weight *= SPREAD
        vae.decoder.conv_out.bias.fill_(MEAN)
    return vae


def mels_of(waves: Float[Tensor, "b samples"]) -> Float[Tensor, "b 1 frames 64"]:
    """Log-mel spectrograms as one-channel pictures."""
    return log_mel(waves)[:, None]


class MelVAETask:
    """Absolute error in nats and a small KL term."""

    kl_weight = 1e-6

    def __init__(self, vae: AutoencoderKL, clips: Clips, held_out: Clips):
        self.vae, self.clips = vae, clips
        self.modules: Mapping[str, nn.Module] = {"vae": AutoencoderPass(vae)}
        self.unseen = mels_of(held_out.waves(slice(0, 96)))

    def batch(self, draws: Draws) -> Tensor:
        rows = draws.integers("clip", len(self.clips)).cpu()
        return mels_of(self.clips.waves(rows)).to(draws.device)

    def loss(self, modules: Prepared, batch: Tensor, draws: Draws) -> dict[str, Tensor]:
        decoded, kl = modules["vae"](batch, draws.normal("posterior", LATENT_SHAPE))
        absolute = F.l1_loss(decoded.float(), batch)
        return {"loss": absolute + self.kl_weight * kl.float().mean(), "absolute": absolute, "kl": kl.float().mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        mels = self.unseen.to(next(self.vae.parameters()).device)
        decoded = torch.cat([self.vae.decode(self.vae.encode(p).latent_dist.mode()).sample for p in mels.split(32)])
        pairs = torch.stack([mels[:8, 0], decoded[:8, 0]], 1).flatten(0, 1)
        return {"absolute": (decoded - mels).abs().mean().item(), "reconstructions": spectrogram_grid(pairs, 4)}


def spectrogram_grid(mels: Float[Tensor, "n frames bins"], columns: int) -> Image.Image:
    """Spectrograms as one picture: time to the right, low frequencies at the bottom, loud is white."""
    floor, top = np.log(1e-5), 2.0
    pixels = ((mels.float().cpu().numpy().clip(floor, top) - floor) / (top - floor) * 255).astype(np.uint8)
    tiles = np.pad(pixels.transpose(0, 2, 1)[:, ::-1], ((0, -len(mels) % columns), (1, 1), (1, 1)), constant_values=128)
    rows = [np.concatenate(list(tiles[i : i + columns]), 1) for i in range(0, len(tiles), columns)]
    return Image.fromarray(np.concatenate(rows))
