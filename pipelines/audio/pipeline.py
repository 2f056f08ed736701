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

from ..autoencoder import decode
from .conditioning import Generators, aggregate, embed_pictures, translate
from .griffin_lim import GriffinLim
from .timing import predict_tiles

StepCallback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]]
"""(pipeline, step, timestep, {"latents": ...}) -> a dictionary whose "latents", if any, replace the latents."""


@dataclass
class AudioOutput(BaseOutput):
    """Sounds of a pipeline."""

    audios: np.ndarray
    """float32 [n, samples]."""
    sampling_rate: int
    """Samples per second."""
    audio_embeds: Tensor
    """[n, a] or [n, w, a], of unit length: the CLAP embeddings that each sound was generated from."""


class VisionToAudioPipeline(DiffusionPipeline):
    """Pictures to sounds: CLIP image embedding, mapper, CLAP embedding, latent diffusion, vocoder.

    Folders in AudioLDM's layout load unchanged. The image encoder and the mappers are optional: sounds can also be
    generated from CLAP embeddings.

    Args:
        vae: decodes latents into log-mel spectrograms.
        unet: denoises latents; its class labels are CLAP embeddings.
        scheduler: any scheduler of diffusers.
        vocoder: log-mel spectrogram to waveform.
        text_encoder: CLAP's text encoder, for prompts and guidance.
        tokenizer: of the text encoder.
        image_encoder: CLIP's image encoder.
        feature_extractor: prepares pictures for it.
        mapper: from CLIP image embeddings to CLAP embeddings.
        regression_mapper: a second mapper, which ``blend`` mixes in.
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
        """Frames (and mel bins) of the spectrogram for each latent row (and column)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def hop(self) -> int:
        """Samples for each frame of the spectrogram."""
        return math.prod(self.vocoder.config.upsample_rates)

    @property
    def sampling_rate(self) -> int:
        """Samples per second."""
        return self.vocoder.config.sampling_rate

    @property
    def native_seconds(self) -> float:
        """Length of the sounds that the UNet was trained on."""
        return self.unet.config.sample_size * self.vae_scale_factor * self.hop / self.sampling_rate

    @torch.no_grad()
    def encode_image(self, pictures: Sequence[Image.Image], *, as_video: bool = False) -> Float[Tensor, "b c"]:
        """CLIP image embeddings of unit length.

        Args:
            pictures: PIL images of any mode and size.
            as_video: they are frames of one video; the result is the normalized mean of their unit embeddings.

        Raises:
            ValueError: no usable pictures, or the pipeline has no image encoder.
        """
        if self.image_encoder is None or self.feature_extractor is None:
            raise ValueError("this pipeline has no image_encoder and feature_extractor; pass image_embeds instead")
        embeds = embed_pictures(self.image_encoder, self.feature_extractor, pictures)
        return aggregate(embeds) if as_video else embeds

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        """CLAP text embeddings of unit length.

        Raises:
            ValueError: the pipeline has no text encoder.
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
        """Refuse arguments that cannot be used together or with this pipeline.

        Raises:
            ValueError: not exactly one source, an invalid length or number of steps, or pictures without a mapper.
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
        self, image: Image.Image | Sequence[Image.Image] | None = None, *,
        video: Sequence[Image.Image] | None = None, image_embeds: Float[Tensor, "b c"] | None = None,
        audio_embeds: Float[Tensor, "b *w a"] | None = None, prompt: str | None = None, prompt_weight: float = 0.5,
        negative_prompt: str = "", audio_length_in_s: float | None = None, num_inference_steps: int = 25,
        guidance_scale: float = 2.5, mapper_steps: int | None = None, mapper_guidance_scale: float | None = None,
        blend: float = 0.0, tile_length_in_s: float | None = None, frame_gain: Float[Tensor, " frames"] | None = None,
        num_waveforms_per_image: int = 1, eta: float = 0.0, generator: Generators = None,
        latents: Float[Tensor, "n z h w"] | None = None, callback_on_step_end: StepCallback | None = None,
    ) -> AudioOutput:  # fmt: skip
        """Generate sounds for pictures, cut to exactly the length asked for.

        Args:
            image: one picture or several; each gets its own sounds.
            video: frames of one video, which share their sounds.
            image_embeds: CLIP image embeddings, given instead of pictures.
            audio_embeds: CLAP embeddings of any length, given instead of pictures; no mapper is used. Shape [b, w, a]
                has embeddings of w equal windows along each sound, which is then generated in overlapping tiles.
            prompt: text whose CLAP embedding is mixed in.
            prompt_weight: weight of the prompt, 0..1.
            negative_prompt: text that guidance moves away from; "" is the unconditional embedding.
            audio_length_in_s: seconds; None takes `native_seconds`.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 turns it off.
            mapper_steps: denoising steps of a generative mapper.
            mapper_guidance_scale: guidance of a generative mapper.
            blend: 0 takes ``mapper``, 1 ``regression_mapper``.
            tile_length_in_s: seconds of a tile; at most, and by default, `native_seconds`.
            frame_gain: added to the frames of the log-mel spectrogram; its last value is repeated to the end.
            num_waveforms_per_image: sounds for each picture; a generative mapper draws anew for each.
            eta: noise of DDIM, for schedulers that have it.
            generator: one for all sounds, or one for each.
            latents: initial noise; None draws it.
            callback_on_step_end: called after every step, see `StepCallback`.

        Raises:
            ValueError: an argument or a component is missing or does not fit.
        """
        sources = {"image": image, "video": video, "image_embeds": image_embeds, "audio_embeds": audio_embeds}
        seconds = self.native_seconds if audio_length_in_s is None else audio_length_in_s
        self.check_inputs(sources, seconds, num_inference_steps)
        embeds = self._audio_embeds(
            sources, num_waveforms_per_image, blend=blend, generator=generator, num_inference_steps=mapper_steps,
            guidance_scale=mapper_guidance_scale,
        )  # fmt: skip
        embeds = embeds if prompt is None else self._mix_prompt(embeds, prompt, prompt_weight)
        negative = self.encode_prompt([negative_prompt]) if guidance_scale != 1 else None
        samples = round(seconds * self.sampling_rate)
        latents = self.prepare_latents(len(embeds), samples, generator, latents)
        predict = partial(
            self._predict, embeds=embeds, negative=negative, guidance_scale=guidance_scale,
            rows=self._tile_rows(tile_length_in_s),
        )  # fmt: skip
        step_options = self._step_options(eta=eta, generator=generator)
        latents = self._denoise(latents, predict, num_inference_steps, step_options, callback_on_step_end)
        waves = self._decode(latents, frame_gain)[:, :samples]
        self.maybe_free_model_hooks()
        return AudioOutput(audios=waves.numpy(), sampling_rate=self.sampling_rate, audio_embeds=embeds.cpu())

    def _audio_embeds(
        self, sources: dict[str, Any], num_waveforms: int, **mapper_options: Any
    ) -> Float[Tensor, "n *w a"]:  # fmt: skip
        """CLAP embeddings of unit length from the one source that is given; ``mapper_options`` as for `translate`."""
        embeds = sources["audio_embeds"]
        if embeds is None:
            image, video, embeds = sources["image"], sources["video"], sources["image_embeds"]
            if image is not None:
                embeds = self.encode_image([image] if isinstance(image, Image.Image) else image)
            elif video is not None:
                embeds = self.encode_image(video, as_video=True)
            embeds = embeds.to(self._execution_device).repeat_interleave(num_waveforms, 0)
            embeds = translate(embeds, self.mapper, self.regression_mapper, **mapper_options)
        else:
            embeds = embeds.to(self._execution_device).repeat_interleave(num_waveforms, 0)
        return F.normalize(embeds.float(), dim=-1)

    def _mix_prompt(self, embeds: Float[Tensor, "n *w a"], prompt: str, weight: float) -> Float[Tensor, "n *w a"]:
        if not 0 <= weight <= 1:
            raise ValueError(f"prompt_weight must be in 0..1, got {weight}")
        return F.normalize(torch.lerp(embeds, self.encode_prompt([prompt]), weight), dim=-1)

    def _tile_rows(self, seconds: float | None) -> int:
        """Latent rows of a tile of ``seconds``."""
        longest = self.unet.config.sample_size
        if seconds is None:
            return longest
        return min(max(round(seconds * self.sampling_rate / (self.hop * self.vae_scale_factor)), 2), longest)

    def _decode(
        self, latents: Float[Tensor, "n z h w"], frame_gain: Float[Tensor, " frames"] | None
    ) -> Float[Tensor, "n samples"]:
        """Latents to a log-mel spectrogram and on to waveforms, float32 on the CPU."""
        mel = decode(self.vae, latents)[:, 0]
        if frame_gain is not None:
            places = torch.arange(mel.shape[1]).clamp(max=len(frame_gain) - 1)
            mel = mel + frame_gain[places].to(mel)[:, None]
        return self.vocoder(mel.to(self.vocoder.dtype)).cpu().float()

    def prepare_latents(
        self, count: int, samples: int, generator: Generators, latents: Float[Tensor, "n z h w"] | None
    ) -> Float[Tensor, "n z h w"]:
        """Initial noise for sounds of ``samples`` samples; time runs along the height, mel bins along the width.

        Raises:
            ValueError: ``latents`` has another shape.
        """
        factor = self.vae_scale_factor
        height = -(-samples // (self.hop * factor))
        shape = (count, self.unet.config.in_channels, height, self.vocoder.config.model_in_dim // factor)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)
        elif latents.shape != shape:
            raise ValueError(f"latents must have shape {list(shape)} for this length, got {list(latents.shape)}")
        return latents.to(self._execution_device, self.unet.dtype) * self.scheduler.init_noise_sigma

    def _step_options(self, **options: Any) -> dict[str, Any]:
        """Those of ``options`` that the scheduler's ``step`` takes."""
        accepted = inspect.signature(self.scheduler.step).parameters
        return {name: value for name, value in options.items() if name in accepted}

    def _denoise(
        self,
        latents: Float[Tensor, "n z h w"],
        predict: Callable[..., Float[Tensor, "n z h w"]],
        num_inference_steps: int,
        step_options: dict[str, Any],
        callback: StepCallback | None,
    ) -> Float[Tensor, "n z h w"]:
        """Run the scheduler; ``predict`` takes noisy latents and a timestep."""
        self.scheduler.set_timesteps(num_inference_steps, device=latents.device)
        with self.progress_bar(total=num_inference_steps) as bar:
            for step, timestep in enumerate(self.scheduler.timesteps):
                noise = predict(self.scheduler.scale_model_input(latents, timestep), timestep)
                latents = self.scheduler.step(noise, timestep, latents, **step_options).prev_sample
                if callback is not None:
                    latents = callback(self, step, timestep, {"latents": latents}).pop("latents", latents)
                bar.update()
        return latents

    def _predict(
        self,
        noisy: Float[Tensor, "n z h w"],
        timestep: Tensor,
        *,
        embeds: Float[Tensor, "n *w a"],
        negative: Float[Tensor, "1 a"] | None,
        guidance_scale: float,
        rows: int,
    ) -> Float[Tensor, "n z h w"]:
        """The guided prediction; in tiles of ``rows`` latent rows where there are several embeddings along a sound."""
        predict = partial(self._predict_tile, timestep=timestep, negative=negative, guidance_scale=guidance_scale)
        return predict(noisy, embeds) if embeds.ndim == 2 else predict_tiles(predict, noisy, embeds, rows)

    def _predict_tile(
        self,
        noisy: Float[Tensor, "n z h w"],
        embeds: Float[Tensor, "n a"],
        *,
        timestep: Tensor,
        negative: Float[Tensor, "1 a"] | None,
        guidance_scale: float,
    ) -> Float[Tensor, "n z h w"]:
        """The UNet's prediction, with classifier-free guidance away from ``negative`` unless that is None."""
        labels = embeds if negative is None else torch.cat([negative.expand_as(embeds), embeds])
        both = noisy if negative is None else torch.cat([noisy, noisy])
        labels = labels.to(self.unet.dtype)
        noise = self.unet(both, timestep, encoder_hidden_states=None, class_labels=labels).sample
        if negative is None:
            return noise
        without, noise = noise.chunk(2)
        return without + guidance_scale * (noise - without)
