"""AudioLDM 2 (arXiv 2308.05734) as a backend: CLAP embeddings enter through its projection model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AudioLDM2Pipeline
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .backends import BackendOptions
from .clap import clap_space


class AudioLDM2Backend:
    """The audio embedding replaces CLAP's text embedding at the input of the projection model.

    The projection model's second input is T5's encoding of an empty text. From both the language model generates the
    sequence that the UNet attends to. The projection was trained on CLAP's text embeddings. CLAP's two encoders share
    one space, so audio embeddings work too; the paper does not evaluate this.
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
    def generate(self, audio_embeds: Float[Tensor, "n *w a"], options: BackendOptions) -> Float[Tensor, "n samples"]:
        options.refuse_time(audio_embeds, "AudioLDM 2")
        count = len(audio_embeds)
        text, mask, condition = self._condition(audio_embeds, "")
        opposite = self.encode_prompt([options.negative_prompt]).expand(count, -1)
        negative = self._condition(opposite, options.negative_prompt, text.shape[1])
        out = self.pipeline(
            prompt_embeds=text,
            attention_mask=mask,
            generated_prompt_embeds=condition,
            negative_prompt_embeds=negative[0],
            negative_attention_mask=negative[1],
            negative_generated_prompt_embeds=negative[2],
            audio_length_in_s=options.seconds,
            generator=options.generator,
            **options.sampler_arguments,
        )
        return torch.from_numpy(out.audios)[:, : round(options.seconds * self.sampling_rate)]

    def _condition(
        self, embeds: Float[Tensor, "n a"], text: str, length: int | None = None
    ) -> tuple[Float[Tensor, "n l t"], Tensor, Float[Tensor, "n k g"]]:
        """T5's hidden states for ``text``, their mask, and the sequence that the language model generates from them and
        ``embeds``; ``length`` pads ``text`` to so many tokens."""
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
