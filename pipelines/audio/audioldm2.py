"""AudioLDM 2 (arXiv 2308.05734) driven by CLAP embeddings of sounds, through its projection model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AudioLDM2Pipeline
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .clap import clap_space
from .conditioning import Generators


class AudioLDM2Backend:
    """The audio embedding takes the place of CLAP's text feature before the projection model.

    Beside it stands T5's reading of an empty text; the language model makes of both what the UNet attends to. CLAP's
    two towers share their space, so the projection, trained on texts, reads sounds too; the paper has no such run.
    """

    keeps_time = False

    def __init__(self, pipeline: AudioLDM2Pipeline):
        self.pipeline = pipeline
        self.space_id = clap_space(pipeline.text_encoder)
        config = pipeline.vocoder.config
        self.sampling_rate: int = config.sampling_rate
        hop = math.prod(config.upsample_rates)
        self.native_seconds: float = (
            pipeline.unet.config.sample_size * pipeline.vae_scale_factor * hop / config.sampling_rate
        )

    @classmethod
    def from_folder(cls, folder: str | Path, *, device: str = "cpu") -> AudioLDM2Backend:
        """Load a folder or hub id in AudioLDM 2's layout."""
        return cls(AudioLDM2Pipeline.from_pretrained(folder, dtype=torch.float32).to(device))

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        tokenizer, clap = self.pipeline.tokenizer, self.pipeline.text_encoder
        tokens = tokenizer(
            list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).to(self.pipeline.device)  # fmt: skip
        found = clap.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(found.float(), dim=-1).cpu()

    @torch.no_grad()
    def generate(
        self,
        audio_embeds: Float[Tensor, "n *w a"],
        *,
        seconds: float,
        negative_prompt: str = "",
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        generator: Generators = None,
        tile_seconds: float | None = None,
        frame_gain: Float[Tensor, " frames"] | None = None,
    ) -> Float[Tensor, "n samples"]:
        if audio_embeds.ndim != 2 or tile_seconds is not None or frame_gain is not None:
            raise ValueError("AudioLDM 2 has one embedding for a whole sound; leave out window and onset_strength")
        count = len(audio_embeds)
        text, mask, condition = self._condition(audio_embeds, "")
        away = self._condition(self.encode_prompt([negative_prompt]).expand(count, -1), negative_prompt, text.shape[1])
        given = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
        out = self.pipeline(
            prompt_embeds=text,
            attention_mask=mask,
            generated_prompt_embeds=condition,
            negative_prompt_embeds=away[0],
            negative_attention_mask=away[1],
            negative_generated_prompt_embeds=away[2],
            audio_length_in_s=seconds,
            generator=generator,
            **{name: value for name, value in given.items() if value is not None},
        )
        return torch.from_numpy(out.audios)[:, : round(seconds * self.sampling_rate)]

    def _condition(
        self, embeds: Float[Tensor, "n a"], text: str, length: int | None = None
    ) -> tuple[Float[Tensor, "n l t"], Tensor, Float[Tensor, "n k g"]]:
        """T5's states and their mask for ``text``, and what the language model makes of them and ``embeds``."""
        pipeline, device, count = self.pipeline, self.pipeline.device, len(embeds)
        tokens = pipeline.tokenizer_2(
            text, padding=True if length is None else "max_length", max_length=length, truncation=True,
            return_tensors="pt",
        ).to(device)  # fmt: skip
        mask = tokens.attention_mask.expand(count, -1)
        states = pipeline.text_encoder_2(tokens.input_ids, attention_mask=tokens.attention_mask)[0].expand(
            count, -1, -1
        )
        projected = pipeline.projection_model(
            hidden_states=embeds[:, None].to(device, pipeline.projection_model.dtype),
            hidden_states_1=states,
            attention_mask=mask.new_ones(count, 1),
            attention_mask_1=mask,
        )
        made = pipeline.generate_language_model(projected.hidden_states, attention_mask=projected.attention_mask)
        return states, mask, made
