"""The denoiser of nano-audio: a UNet2DConditionModel in AudioLDM's layout, conditioned on CLAP embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from ...audio.clap import Clap
from ..world.moments import Clips
from .clap import WIDTH, embed_clips
from .mel_vae import LATENT_SHAPE, LATENTS, mels_of, spectrogram_grid


def build_audio_unet() -> UNet2DConditionModel:
    """32, 64 and 96 channels; the CLAP embedding is concatenated to the timestep's.

    As in AudioLDM all attention is self-attention, so its widths are those of the blocks.
    """
    return UNet2DConditionModel(
        sample_size=LATENT_SHAPE[1],
        in_channels=LATENTS,
        out_channels=LATENTS,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(32, 64, 96),
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )


def build_audio_scheduler() -> DDIMScheduler:
    """AudioLDM's noise schedule with v-prediction, which small models learn faster."""
    return DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


class AudioDiffusionTask:
    """Squared error of the velocity, conditioned on the sound's own CLAP embedding; one in ten is the empty text's.

    Embeddings are perturbed, because later they come from a mapper, which has an error of its own.

    Args:
        unet: the network to train.
        vae: the trained autoencoder.
        clap: the trained CLAP.
        clips: to train on.
        held_out: to validate on.
    """

    unconditional = 0.1
    drift = 0.2
    """Length of the random vector that is added to an embedding of length 1."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        clap: Clap,
        clips: Clips,
        held_out: Clips,
    ):
        self.unet, self.vae = unet, vae.requires_grad_(False).eval()
        self.modules: Mapping[str, nn.Module] = {"unet": unet}
        self.scheduler = build_audio_scheduler()
        self.text_space = clap.space_id
        self.nothing = clap.embed_texts([""])[0]
        self.embeds = embed_clips(clap, clips)
        self.mean, self.std = self._encoded(clips)
        self.held_out_embeds = embed_clips(clap, held_out)[:96]
        self.held_out = self._encoded(held_out, 96)[0].float()

    @torch.no_grad()
    def _encoded(self, clips: Clips, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of the latents, in half precision to save memory."""
        means, stds = [], []
        rows = torch.arange(len(clips))[:count].split(32)
        for part in tqdm(rows, unit="batch", desc="encoding sounds", disable=None):
            posterior = self.vae.encode(mels_of(clips.waves(part))).latent_dist
            means.append(posterior.mean.half() * self.vae.config.scaling_factor)
            stds.append(posterior.std.half() * self.vae.config.scaling_factor)
        return torch.cat(means), torch.cat(stds)

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        rows = draws.integers("clip", len(self.embeds)).cpu()
        latents = self.mean[rows].to(draws.device).float()
        latents = latents + self.std[rows].to(draws.device).float() * draws.normal("posterior", LATENT_SHAPE)
        return latents, self.embeds[rows].to(draws.device)

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        latents, embeds = batch
        embeds = F.normalize(embeds + self.drift * F.normalize(draws.normal("drift", (WIDTH,)), dim=1), dim=1)
        dropped = draws.uniform("unconditional") < self.unconditional
        embeds = torch.where(dropped[:, None], self.nothing.to(embeds), embeds)
        timesteps = (draws.uniform("timestep") * len(self.scheduler.betas)).long()
        return {"loss": self.error(modules["unet"], latents, embeds, timesteps, draws.normal("noise", LATENT_SHAPE))}

    def error(
        self, unet: Any, latents: Tensor, embeds: Float[Tensor, "b d"], timesteps: Tensor, noise: Tensor
    ) -> Tensor:
        """Mean squared error of the velocity."""
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.get_velocity(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, encoder_hidden_states=None, class_labels=embeds).sample
        return F.mse_loss(predicted.float(), velocity)

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """The error on held-out sounds with fixed noise, and eight of them next to sounds from their embeddings."""
        device = next(self.unet.parameters()).device
        latents, embeds = self.held_out.to(device), self.held_out_embeds.to(device)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        timesteps = torch.linspace(0, len(self.scheduler.betas) - 1, len(latents), device=device).long()
        error = self.error(self.unet, latents, embeds, timesteps, noise).item()
        made = self.sample(embeds[:8], noise[:8])
        mels = [
            self.vae.to(device).decode(x / self.vae.config.scaling_factor).sample[:, 0] for x in (latents[:8], made)
        ]
        return {"error": error, "samples": spectrogram_grid(torch.stack(mels, 1).flatten(0, 1), 4)}

    def sample(self, embeds: Float[Tensor, "b d"], noise: Tensor, steps: int = 12) -> Tensor:
        """Latents denoised without guidance."""
        latents = noise
        self.scheduler.set_timesteps(steps)
        for timestep in self.scheduler.timesteps:
            velocity = self.unet(latents, timestep, encoder_hidden_states=None, class_labels=embeds).sample
            latents = self.scheduler.step(velocity, timestep, latents).prev_sample
        return latents
