"""The nano text-to-image model: a UNet2DConditionModel and its CLIPTextModel, trained together on v-prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import make_image_grid
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from .. import world
from .clip import text_config, tokens_of
from .vae import pictures_of


def build_unet(latent_channels: int) -> UNet2DConditionModel:
    """10 million weights; 11 cross-attentions: 4 in the down blocks, 1 in the middle, 6 in the up blocks."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=192,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Four layers of width 192."""
    return CLIPTextModel(text_config(tokenizer, layers=4))


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with more noise: the last signal scale is small (0.03) but not zero.

    Several of diffusers' schedulers silently ignore a terminal signal of zero.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.016,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


class DiffusionTask:
    """Squared error of the velocity; one caption in ten is empty.

    Timesteps are drawn so that the log signal-to-noise ratio is normal, like logit-normal times (arXiv 2403.03206,
    section 3.1): most draws are at noise levels where shapes are decided.

    Poses vary little, because names of objects are learned fastest when little else varies. Half of the pictures show
    one named, upright object in the middle of a plain ground. In the others objects are not mirrored and hardly
    rotated.
    """

    log_snr_mean, log_snr_std = -0.5, 1.7
    unconditional = 0.1
    plain = 0.5
    tilt = 5.0  # degrees at most

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        vae: AutoencoderKL,
        names: tuple[str, ...] = world.SUBSET,
    ):
        self.modules: Mapping[str, nn.Module] = {"unet": unet, "text_encoder": text_encoder}
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.vae = vae.requires_grad_(False).eval()
        self.names = names
        self.scheduler = build_scheduler()
        alphas = self.scheduler.alphas_cumprod
        edges = ((alphas / (1 - alphas)).log() - self.log_snr_mean) / self.log_snr_std
        self.noisier = torch.special.ndtr(edges)  # share of draws with a timestep beyond each

    @torch.no_grad()
    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        scenes, captions = zip(*(self.sample(draws.numpy(i)) for i in range(len(draws))), strict=True)
        posterior = self.vae.to(draws.device).encode(pictures_of(scenes).to(draws.device)).latent_dist
        latents = posterior.mean + posterior.std * draws.normal("posterior", posterior.mean.shape[1:])
        return latents * self.vae.config.scaling_factor, tokens_of(self.tokenizer, captions).to(draws.device)

    def sample(self, rng: np.random.Generator) -> tuple[world.Scene, str]:
        """A scene and its caption."""
        tilt = float(rng.uniform(-self.tilt, self.tilt))
        if rng.random() < self.plain:
            pose = {"x": 0.5, "y": 0.5, "flip": False, "tilt": tilt / 2}
            scene = world.sample_scene(rng, self.names, place="plain", style=None, count=1, **pose)
            caption = world.caption(scene, rng, use_category=False)
        else:
            scene = world.sample_scene(rng, self.names, flip=False, tilt=tilt)
            caption = world.caption(scene, rng)
        return scene, "" if rng.random() < self.unconditional else caption

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        latents, tokens = batch
        noise = draws.normal("noise", latents.shape[1:])
        timesteps = self.timesteps(draws.uniform("timestep"))
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.get_velocity(latents, noise, timesteps)
        context = modules["text_encoder"](tokens).last_hidden_state
        predicted = modules["unet"](noisy, timesteps, context).sample
        error = (predicted.float() - velocity).square().flatten(1).mean(1)
        return {"loss": error.mean()}

    def timesteps(self, quantiles: Tensor) -> Tensor:
        """Timesteps, int64 [b], for uniform numbers [b] in [0, 1): quantiles of the normal log ratio."""
        return torch.searchsorted(-self.noisier.to(quantiles.device), quantiles - 1).clamp(max=len(self.noisier) - 1)

    def pipeline(self) -> StableDiffusionPipeline:
        """The model as users load it."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Forty pictures, of the same captions with the same noise at every validation."""
        rng = np.random.default_rng(11)
        captions = [world.caption(world.sample_scene(rng, self.names), rng) for _ in range(40)]
        pipeline = self.pipeline()
        pipeline.set_progress_bar_config(disable=True)
        pictures = pipeline(
            captions, num_inference_steps=20, guidance_scale=4.0, generator=torch.Generator().manual_seed(0)
        ).images
        return {"samples": make_image_grid(pictures, rows=5, cols=8)}
