"""Stable Audio (arXiv 2407.14358) as a backend: it is conditioned on text, so embeddings are described in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableAudioPipeline
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .backends import BackendOptions
from .clap import Clap

TAGS = """
bird song; crowing rooster; quacking duck; cawing crow; hooting owl; cooing pigeon; barking dog; howling wolf;
meowing cat; purring cat; mooing cow; bleating sheep; neighing horse; grunting pig; croaking frog; chirping
crickets; buzzing bee; roaring lion; speech of a man; speech of a woman; crowd talking; crying baby; laughter;
applause; footsteps; choir singing; piano; acoustic guitar; electric guitar; violin; cello; flute; trumpet;
saxophone; drum kit; hand drum; church bell; hand bell; wind chimes; gong; harp; accordion; church organ;
electronic music; orchestra; rain; thunder; wind; ocean waves; running stream; fountain; dripping water;
crackling fire; rustling leaves; car engine; car horn; motorcycle; bus; truck; passing train; train whistle;
airplane; helicopter; ship horn; ambulance siren; police siren; bicycle bell; chainsaw; electric drill; hammer;
sawing wood; lawn mower; sewing machine; typewriter; computer keyboard; camera shutter; mobile phone ringing;
alarm clock; ticking clock; door closing; knocking; creaking door; breaking glass; boiling kettle; frying food;
clinking dishes; vacuum cleaner; hair dryer; fireworks; explosion; gunshot; video game sounds; city street;
market crowd; forest ambience; factory machines
"""
"""Everyday sounds in words, separated by semicolons."""


class StableAudioBackend:
    """Describes each embedding by the tags nearest to it in CLAP's space, and prompts Stable Audio with these tags.

    Args:
        pipeline: Stable Audio.
        clap: the CLAP whose space the mappers' targets are in; its text encoder embeds the tags.
        tags_per_sound: how many tags describe a sound.
    """

    keeps_time = False

    def __init__(self, pipeline: StableAudioPipeline, clap: Clap, *, tags_per_sound: int = 2):
        self.pipeline, self.clap, self.tags_per_sound = pipeline, clap, tags_per_sound
        self.space_id = clap.space_id
        self.sampling_rate: int = pipeline.vae.config.sampling_rate
        rows = pipeline.transformer.config.sample_size * pipeline.vae.hop_length
        self.native_seconds: float = rows / self.sampling_rate
        self.tags = [" ".join(tag.split()) for tag in TAGS.split(";")]
        self.tag_embeds = clap.embed_texts([f"the sound of {tag}" for tag in self.tags])

    @classmethod
    def from_folder(cls, folder: str | Path, *, clap: Clap | None, device: str = "cpu") -> StableAudioBackend:
        """Load a folder or hub id in Stable Audio's layout.

        Raises:
            ValueError: ``clap`` is None.
        """
        if clap is None:
            raise ValueError(
                "Stable Audio reads text only; give clap=, the ClapModel folder that the mapper was trained with"
            )
        return cls(StableAudioPipeline.from_pretrained(folder, dtype=torch.float32).to(device), clap)

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        return self.clap.embed_texts(prompts)

    def describe(self, audio_embeds: Float[Tensor, "n a"]) -> list[str]:
        """A text for each embedding: its nearest tags, after subtracting the mean of all tags from both sides.

        All text embeddings share a large component that audio embeddings do not have. Without the subtraction the same
        few tags would be nearest to every sound.
        """
        mean = self.tag_embeds.mean(0, keepdim=True)
        cosines = F.normalize(audio_embeds.float().cpu() - mean, dim=-1) @ F.normalize(self.tag_embeds - mean, dim=-1).T
        nearest = cosines.topk(self.tags_per_sound, dim=1).indices.tolist()
        return [", ".join(self.tags[i] for i in row) for row in nearest]

    @torch.no_grad()
    def generate(self, audio_embeds: Float[Tensor, "n *w a"], options: BackendOptions) -> Float[Tensor, "n samples"]:
        options.refuse_time(audio_embeds, "Stable Audio")
        longest = self.native_seconds
        if options.seconds > longest:
            raise ValueError(
                f"Stable Audio makes at most {longest:.2f} seconds, got {options.seconds:g}; give a shorter duration"
            )
        out = self.pipeline(
            prompt=self.describe(audio_embeds),
            negative_prompt=[options.negative_prompt] * len(audio_embeds) if options.negative_prompt else None,
            audio_end_in_s=options.seconds,
            generator=options.generator,
            **options.sampler_arguments,
        )
        waves = out.audios.float().cpu().mean(1)  # stereo to mono
        return waves[:, : round(options.seconds * self.sampling_rate)]
