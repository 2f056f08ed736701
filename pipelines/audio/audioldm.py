"""AudioLDM (arXiv 2301.12503) as a backend: conditioned on CLAP embeddings directly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .backends import BackendOptions
from .clap import clap_space
from .pipeline import VisionToAudioPipeline


class AudioLDMBackend:
    """AudioLDM's layout, loaded as a `VisionToAudioPipeline`.

    Raises:
        ValueError: ``pipeline`` has no text encoder.
    """

    keeps_time = True

    def __init__(self, pipeline: VisionToAudioPipeline):
        if pipeline.text_encoder is None:
            raise ValueError(
                "the model has no text_encoder; guidance needs it, and so does the check that mappers fit; add the"
                " text_encoder of the CLAP that the model was trained with"
            )
        self.pipeline = pipeline
        self.space_id = clap_space(pipeline.text_encoder)
        self.sampling_rate: int = pipeline.vocoder.config.sampling_rate
        self.native_seconds = pipeline.native_seconds

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        return self.pipeline.encode_prompt(prompts).cpu()

    def generate(self, audio_embeds: Float[Tensor, "n *w a"], options: BackendOptions) -> Float[Tensor, "n samples"]:
        out = self.pipeline(
            audio_embeds=audio_embeds,
            audio_length_in_s=options.seconds,
            negative_prompt=options.negative_prompt,
            generator=options.generator,
            tile_length_in_s=options.tile_seconds,
            frame_gain=options.frame_gain,
            **options.sampler_arguments,
        )
        return torch.from_numpy(out.audios)
