"""The nano autoencoder: 64x64 pictures to 16x16 latents of 8 channels, a small AutoencoderKL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils import make_image_grid
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.pixels import to_bytes
from mappers.quality import psnr_of
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared
from mappers.training.workers import Preparation

from .. import world


def build_vae() -> AutoencoderKL:
    """16 channels at full resolution, where a convolutional autoencoder spends most of its time."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def pixels_of(scenes: Sequence[world.Scene]) -> Tensor:
    """Rendered scenes, uint8 [b, 3, 64, 64]."""
    return torch.from_numpy(np.stack([world.render(scene) for scene in scenes])).permute(0, 3, 1, 2)


def scaled(pixels: Tensor) -> Tensor:
    """Pixels as float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def pictures_of(scenes: Sequence[world.Scene]) -> Tensor:
    """Rendered scenes as a tensor [b, 3, 64, 64] in [-1, 1]."""
    return scaled(pixels_of(scenes))


def psnr_per_picture(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of each picture in dB, for values in [-1, 1]."""
    mse = (a.clamp(-1, 1) - b.clamp(-1, 1)).square().flatten(1).mean(1)
    return psnr_of(mse, peak=2)


class AutoencoderPass(nn.Module):
    """The whole pass as one module, so that data-parallel wrapping sees it."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.vae.encode(pictures).latent_dist
        latents = posterior.mean + posterior.std * noise
        return self.vae.decode(latents).sample, posterior.kl()


@dataclass(frozen=True)
class PicturesAndNoise(Preparation):
    """Pixels of random scenes of ``names``, and the noise of their latents."""

    names: Sequence[str]
    channels: int

    def __call__(self, draws: Draws) -> tuple[Tensor, Tensor]:
        scenes = [world.sample_scene(draws.numpy(i), self.names) for i in range(len(draws))]
        return pixels_of(scenes), draws.normal("posterior", (self.channels, 16, 16))


class VAETask:
    """Squared error, a little absolute error for crisp edges, and a small KL term (per picture element)."""

    kl_weight = 1e-8
    absolute_weight = 0.1

    def __init__(self, vae: AutoencoderKL, *, freeze_encoder: bool = False):
        self.vae = vae
        self.modules: Mapping[str, nn.Module] = {"vae": AutoencoderPass(vae)}
        if freeze_encoder:
            # Latents stay as they are, so the decoder can improve under a diffusion model that is in training.
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        self.names = [info.name for info in world.objects("train")]
        self.batch = PicturesAndNoise(self.names, vae.config.latent_channels)
        held_out = [info.name for info in world.objects("held-out")]
        rng = np.random.default_rng(7)
        self.unseen = pictures_of([world.sample_scene(rng, held_out) for _ in range(96)])

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        pictures = scaled(batch[0])
        decoded, kl = modules["vae"](pictures, batch[1])
        squared, absolute = F.mse_loss(decoded.float(), pictures), F.l1_loss(decoded.float(), pictures)
        loss = squared + self.absolute_weight * absolute + self.kl_weight * kl.float().mean()
        return {"loss": loss, "squared_error": squared, "kl": kl.float().mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        pictures = self.unseen.to(next(self.vae.parameters()).device)
        decoded = self.vae.decode(self.vae.encode(pictures).latent_dist.mode()).sample
        pairs = torch.stack([pictures[:24], decoded[:24]], 1).flatten(0, 1)
        return {"psnr": psnr_per_picture(decoded, pictures).mean().item(), "reconstructions": grid(pairs, 8)}


def grid(pictures: Tensor, columns: int) -> Image.Image:
    """Pictures [n, 3, h, w] in [-1, 1] as one picture; n is a multiple of ``columns``."""
    pixels = to_bytes((pictures + 1) / 2).permute(0, 2, 3, 1).numpy()
    return make_image_grid([Image.fromarray(p) for p in pixels], rows=len(pixels) // columns, cols=columns)


@torch.no_grad()
def standardize_latents(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Give every latent channel zero mean and unit variance, without changing what the autoencoder does.

    The affine map and its inverse are folded into the 1x1 convolutions on both sides of the latents. The variance is
    that of samples: of a channel that the prior has won, it is all the posterior's.
    """
    posterior = vae.encode(pictures).latent_dist
    latents = posterior.mode()
    mean, std = latents.mean((0, 2, 3)), (latents.var((0, 2, 3)) + posterior.var.mean((0, 2, 3))).sqrt()
    channels = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= std[None, :, None, None]
