"""The nano text-to-image model: a UNet2DConditionModel and its CLIPTextModel, trained together on v-prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import make_image_grid
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared
from mappers.training.workers import Preparation

from .. import world
from .clip import text_config, tokens_of
from .vae import pixels_of, scaled


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


def unet_with_latents(unet: UNet2DConditionModel, latent_channels: int) -> UNet2DConditionModel:
    """``unet`` for an autoencoder of ``latent_channels``: other latents need a new first and a new last convolution."""
    if unet.config.in_channels == latent_channels:
        return unet
    new = build_unet(latent_channels)
    weights = {name: value for name, value in unet.state_dict().items() if not name.startswith(("conv_in", "conv_out"))}
    new.load_state_dict({**new.state_dict(), **weights})
    return new


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


@dataclass(frozen=True)
class CaptionedPictures(Preparation):
    """Random scenes of ``names`` with their captions, of which one in ten is empty, and the noise of a training step.

    Names of objects are learned fastest when little else varies. Half of the pictures show one named object on a plain
    ground. Most poses are calm: upright, in the middle, and of nearly one size. The others are rotated a little and
    vary in size and place. No object is mirrored.
    """

    names: Sequence[str]
    tokenizer: CLIPTokenizer
    channels: int
    unconditional: float = 0.1
    plain: float = 0.5
    calm: float = 0.7
    calm_variation: float = 0.25
    """Of the world's range of scales and centres: +-0.03 frames in scale, +-1 pixel across."""
    tilt: float = 5.0
    """Degrees at most, of poses that are not calm."""

    def __call__(self, draws: Draws) -> dict[str, Tensor]:
        scenes, captions = zip(*(self.sample(draws.numpy(i)) for i in range(len(draws))), strict=True)
        latents = self.channels, 16, 16
        return {
            "pixels": pixels_of(scenes),
            "tokens": tokens_of(self.tokenizer, list(captions)),
            "posterior": draws.normal("posterior", latents),
            "noise": draws.normal("noise", latents),
            "quantiles": draws.uniform("timestep"),
        }

    def sample(self, rng: np.random.Generator) -> tuple[world.Scene, str]:
        """A scene and its caption."""
        calm, plain = rng.random(2) < (self.calm, self.plain)
        fixed: dict[str, Any] = {"place": "plain", "style": None, "count": 1} if plain else {}
        tilt = 0.0 if calm else float(rng.uniform(-self.tilt, self.tilt))
        variation = self.calm_variation if calm else 1.0
        scene = world.sample_scene(rng, self.names, variation=variation, flip=False, tilt=tilt, **fixed)
        caption = world.caption(scene, rng, use_category=False if plain else None)
        return scene, "" if rng.random() < self.unconditional else caption


class DiffusionTask:
    """Squared error of the velocity.

    Timesteps are drawn so that the log signal-to-noise ratio is normal, like logit-normal times (arXiv 2403.03206,
    section 3.1): most draws are at noise levels where shapes are decided.
    """

    log_snr_mean, log_snr_std = -0.5, 1.7

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        vae: AutoencoderKL,
        names: Sequence[str] | None = None,
    ):
        self.modules: Mapping[str, nn.Module] = {"unet": unet, "text_encoder": text_encoder}
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.vae = vae.requires_grad_(False).eval()
        self.names = list(names) if names is not None else [info.name for info in world.objects("train")]
        self.batch = CaptionedPictures(self.names, tokenizer, vae.config.latent_channels)
        self.scheduler = build_scheduler()
        alphas = self.scheduler.alphas_cumprod
        edges = ((alphas / (1 - alphas)).log() - self.log_snr_mean) / self.log_snr_std
        self.noisier = torch.special.ndtr(edges)  # share of draws with a timestep beyond each

    def loss(self, modules: Prepared, batch: Mapping[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        latents, noise = self.latents(batch), batch["noise"]
        timesteps = self.timesteps(batch["quantiles"])
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.get_velocity(latents, noise, timesteps)
        context = modules["text_encoder"](batch["tokens"]).last_hidden_state
        predicted = modules["unet"](noisy, timesteps, context).sample
        error = (predicted.float() - velocity).square().flatten(1).mean(1)
        return {"loss": error.mean()}

    @torch.no_grad()
    def latents(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The autoencoder's latents of a batch's pictures, [b, c, 16, 16]."""
        posterior = self.vae.to(batch["pixels"].device).encode(scaled(batch["pixels"])).latent_dist
        return (posterior.mean + posterior.std * batch["posterior"]).float() * self.vae.config.scaling_factor

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
