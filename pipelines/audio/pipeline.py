"""`VisionToAudioPipeline`: a frozen audio generator driven by pictures (V2A-Mapper, arXiv 2308.09300)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    ClapTextModelWithProjection,
    CLIPImageProcessor,
    CLIPVisionModelWithProjection,
    SpeechT5HifiGan,
)

from mappers.v2a import EmbeddingMapper

from .conditioning import Generators, aggregate, embed_pictures, translate
from .griffin_lim import GriffinLim
from .timing import predict_tiles


@dataclass
class AudioOutput(BaseOutput):
    """Sounds of a pipeline."""

    audios: np.ndarray
    """float32 [n, samples]."""
    sampling_rate: int
    """Samples per second."""
    audio_embeds: Tensor
    """[n, a], of unit length: what each sound was made from."""


class VisionToAudioPipeline(DiffusionPipeline):
    """Pictures to sounds: CLIP embedding, mapper, CLAP embedding, latent diffusion, vocoder.

    Folders in AudioLDM's layout load as they are. The parts that look at pictures and translate are optional:
    sounds can also be made from embeddings.

    Args:
        vae: decodes latents into log-mel spectrograms.
        unet: denoises latents; its class labels are audio embeddings.
        scheduler: any of diffusers' for the UNet.
        vocoder: log-mel spectrogram to waveform.
        text_encoder: CLAP's text tower, for prompts and guidance.
        tokenizer: of the text tower.
        image_encoder: CLIP's picture tower.
        feature_extractor: prepares pictures for it.
        mapper: from the picture tower's embeddings to CLAP's.
        regression_mapper: another one, which ``blend`` mixes in.
    """

    model_cpu_offload_seq = "image_encoder->mapper->regression_mapper->text_encoder->unet->vae->vocoder"
    _optional_components = [  # noqa: RUF012
        "text_encoder", "tokenizer", "image_encoder", "feature_extractor", "mapper", "regression_mapper",
    ]  # fmt: skip
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: Any,
        vocoder: SpeechT5HifiGan | GriffinLim,
        text_encoder: ClapTextModelWithProjection | None = None,
        tokenizer: Any = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        mapper: EmbeddingMapper | None = None,
        regression_mapper: EmbeddingMapper | None = None,
    ):
        super().__init__()
        self.register_modules(
            vae=vae, unet=unet, scheduler=scheduler, vocoder=vocoder, text_encoder=text_encoder, tokenizer=tokenizer,
            image_encoder=image_encoder, feature_extractor=feature_extractor, mapper=mapper,
            regression_mapper=regression_mapper,
        )  # fmt: skip

    @property
    def vae_scale_factor(self) -> int:
        """How many frames, and how many bins, of a spectrogram one latent stands for."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.vocoder.config.upsample_rates)

    @torch.no_grad()
    def encode_image(self, pictures: Sequence[Image.Image], *, as_video: bool = False) -> Float[Tensor, "b c"]:
        """Picture embeddings of unit length.

        Args:
            pictures: PIL images of any mode and size.
            as_video: treat them as the frames of one video: the mean of their unit embeddings, made unit again.

        Raises:
            ValueError: no usable pictures, or the pipeline has no picture tower.
        """
        if self.image_encoder is None or self.feature_extractor is None:
            raise ValueError("this pipeline has no image_encoder and feature_extractor; pass image_embeds instead")
        embeds = embed_pictures(self.image_encoder, self.feature_extractor, pictures)
        return aggregate(embeds) if as_video else embeds

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        """CLAP text embeddings of unit length.

        Raises:
            ValueError: the pipeline has no text tower.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError("this pipeline has no text_encoder and tokenizer, which prompts and guidance need")
        tokens = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).to(self._execution_device)  # fmt: skip
        embeds = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask).text_embeds
        return F.normalize(embeds.float(), dim=-1)

    def check_inputs(self, sources: dict[str, Any], audio_length_in_s: float, num_inference_steps: int) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: not exactly one source, an unusable length or number of steps, or a picture without a mapper.
        """
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(sources)}; got {', '.join(given) or 'none'}")
        if given[0] != "audio_embeds" and self.mapper is None:
            raise ValueError("this pipeline has no mapper; load one, or pass audio_embeds")
        if not (math.isfinite(audio_length_in_s) and audio_length_in_s > 0):
            raise ValueError(f"audio_length_in_s must be a positive number of seconds, got {audio_length_in_s}")
        if num_inference_steps < 1:
            raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")

    @torch.no_grad()
    def __call__(
        self,
        image: Image.Image | Sequence[Image.Image] | None = None,
        *,
        video: Sequence[Image.Image] | None = None,
        image_embeds: Float[Tensor, "b c"] | None = None,
        audio_embeds: Float[Tensor, "b *w a"] | None = None,
        prompt: str | None = None,
        prompt_weight: float = 0.5,
        negative_prompt: str = "",
        audio_length_in_s: float | None = None,
        num_inference_steps: int = 25,
        guidance_scale: float = 2.5,
        mapper_steps: int | None = None,
        mapper_guidance_scale: float | None = None,
        blend: float = 0.0,
        tile_length_in_s: float | None = None,
        frame_gain: Float[Tensor, " frames"] | None = None,
        num_waveforms_per_image: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Float[Tensor, "n z h w"] | None = None,
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> AudioOutput:
        """Make sounds for pictures.

        Args:
            image: a picture, or several; each gets sounds of its own.
            video: the frames of one video, which share their sounds.
            image_embeds: embeddings of the picture tower instead.
            audio_embeds: CLAP embeddings instead; no mapper is asked. Their length does not matter. [b, w, a] has those
                of w equal windows along the sound, which is then made of tiles.
            prompt: text to mix with what was seen.
            prompt_weight: its share, 0..1.
            negative_prompt: what to move away from; "" stands for anything.
            audio_length_in_s: seconds; None takes the UNet's own size.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 switches it off.
            mapper_steps: denoising steps of a generative mapper.
            mapper_guidance_scale: guidance of a generative mapper.
            blend: 0 takes ``mapper``, 1 ``regression_mapper``.
            tile_length_in_s: seconds of a tile; None, and at most, the UNet's own size.
            frame_gain: added to the frames of the log-mel spectrogram; the last value goes on to the end.
            num_waveforms_per_image: sounds for each picture; a generative mapper draws for each anew.
            eta: DDIM's noise, for schedulers that have it.
            generator: one for all sounds, or one a sound.
            latents: initial noise, instead of drawing it.
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": ...}) after every step; what it
                returns replaces the latents.

        Returns:
            The sounds, cut to the length that was asked for to the sample.

        Raises:
            ValueError: an argument or a component is missing or does not fit; the message says which.
        """
        rate = self.vocoder.config.sampling_rate
        if audio_length_in_s is None:
            audio_length_in_s = self.unet.config.sample_size * self.vae_scale_factor * self.hop / rate
        sources = {"image": image, "video": video, "image_embeds": image_embeds, "audio_embeds": audio_embeds}
        self.check_inputs(sources, audio_length_in_s, num_inference_steps)
        if image is not None:
            image_embeds = self.encode_image([image] if isinstance(image, Image.Image) else image)
        elif video is not None:
            image_embeds = self.encode_image(video, as_video=True)
        if image_embeds is not None:
            image_embeds = image_embeds.to(self._execution_device).repeat_interleave(num_waveforms_per_image, 0)
            audio_embeds = translate(
                image_embeds, self.mapper, self.regression_mapper, blend=blend, generator=generator,
                num_inference_steps=mapper_steps, guidance_scale=mapper_guidance_scale,
            )  # fmt: skip
        else:
            audio_embeds = audio_embeds.to(self._execution_device).repeat_interleave(num_waveforms_per_image, 0)
        audio_embeds = F.normalize(audio_embeds.float(), dim=-1)
        if prompt is not None:
            if not 0 <= prompt_weight <= 1:
                raise ValueError(f"prompt_weight must be in 0..1, got {prompt_weight}")
            text = self.encode_prompt([prompt])
            audio_embeds = F.normalize(torch.lerp(audio_embeds, text, prompt_weight), dim=-1)
        away = self.encode_prompt([negative_prompt]) if guidance_scale != 1 else None

        samples = round(audio_length_in_s * rate)
        latents = self.prepare_latents(len(audio_embeds), samples, generator, latents)
        rows = self.unet.config.sample_size
        if tile_length_in_s is not None:
            rows = min(max(round(tile_length_in_s * rate / (self.hop * self.vae_scale_factor)), 2), rows)
        latents = self._denoise(
            latents, audio_embeds, away, guidance_scale, num_inference_steps, eta, generator, callback_on_step_end, rows
        )
        mel = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample[:, 0]
        if frame_gain is not None:
            places = torch.arange(mel.shape[1]).clamp(max=len(frame_gain) - 1)
            mel = mel + frame_gain[places].to(mel)[:, None]
        waves = self.vocoder(mel.to(self.vocoder.dtype)).cpu().float()
        self.maybe_free_model_hooks()
        return AudioOutput(audios=waves[:, :samples].numpy(), sampling_rate=rate, audio_embeds=audio_embeds.cpu())

    def prepare_latents(
        self, count: int, samples: int, generator: Generators, latents: Float[Tensor, "n z h w"] | None
    ) -> Float[Tensor, "n z h w"]:
        """Initial noise for ``samples`` samples: frames run along the height, mel bins along the width.

        Raises:
            ValueError: given latents have another shape.
        """
        factor = self.vae_scale_factor
        height = -(-samples // (self.hop * factor))
        shape = (count, self.unet.config.in_channels, height, self.vocoder.config.model_in_dim // factor)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)
        elif latents.shape != shape:
            raise ValueError(f"latents must have shape {list(shape)} for this length, got {list(latents.shape)}")
        return latents.to(self._execution_device, self.unet.dtype) * self.scheduler.init_noise_sigma

    def _denoise(
        self,
        latents: Float[Tensor, "n z h w"],
        embeds: Float[Tensor, "n *w a"],
        away: Float[Tensor, "1 a"] | None,
        guidance_scale: float,
        num_inference_steps: int,
        eta: float,
        generator: Generators,
        callback: Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]] | None,
        tile: int,
    ) -> Float[Tensor, "n z h w"]:
        self.scheduler.set_timesteps(num_inference_steps, device=latents.device)
        takes = inspect.signature(self.scheduler.step).parameters
        extra = {name: value for name, value in (("eta", eta), ("generator", generator)) if name in takes}
        with self.progress_bar(total=num_inference_steps) as bar:
            for step, timestep in enumerate(self.scheduler.timesteps):
                noisy = self.scheduler.scale_model_input(latents, timestep)
                predict = partial(self._predict, timestep=timestep, away=away, guidance_scale=guidance_scale)
                noise = predict(noisy, embeds) if embeds.ndim == 2 else predict_tiles(predict, noisy, embeds, tile)
                latents = self.scheduler.step(noise, timestep, latents, **extra).prev_sample
                if callback is not None:
                    latents = callback(self, step, timestep, {"latents": latents}).pop("latents", latents)
                bar.update()
        return latents

    def _predict(
        self,
        noisy: Float[Tensor, "n z h w"],
        embeds: Float[Tensor, "n a"],
        *,
        timestep: Tensor,
        away: Float[Tensor, "1 a"] | None,
        guidance_scale: float,
    ) -> Float[Tensor, "n z h w"]:
        """What the UNet predicts, guided away from ``away``."""
        labels = embeds if away is None else torch.cat([away.expand_as(embeds), embeds])
        both = noisy if away is None else torch.cat([noisy, noisy])
        labels = labels.to(self.unet.dtype)
        noise = self.unet(both, timestep, encoder_hidden_states=None, class_labels=labels).sample
        if away is None:
            return noise
        without, noise = noise.chunk(2)
        return without + guidance_scale * (noise - without)
