"""Stable Audio (arXiv 2407.14358) for embeddings of sounds: it reads text only, so they are put into words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableAudioPipeline
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .clap import Clap
from .conditioning import Generators

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
"""Everyday sounds in words, between semicolons."""


class StableAudioBackend:
    """Names an embedding by the tags nearest to it in CLAP's space and makes the sound of these words.

    Args:
        pipeline: Stable Audio.
        clap: the CLAP that mappers were trained towards; its text tower reads the tags.
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
            ValueError: there is no ``clap``.
        """
        if clap is None:
            raise ValueError("Stable Audio reads text only; give clap=, the ClapModel folder that mappers lead to")
        return cls(StableAudioPipeline.from_pretrained(folder, dtype=torch.float32).to(device), clap)

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        return self.clap.embed_texts(prompts)

    def describe(self, audio_embeds: Float[Tensor, "n a"]) -> list[str]:
        """Words for embeddings: the nearest tags, after the mean of all tags is taken off both sides.

        Texts share much and sounds share much, but not the same: without that the same few tags are near everything.
        """
        middle = self.tag_embeds.mean(0, keepdim=True)
        near = (
            F.normalize(audio_embeds.float().cpu() - middle, dim=-1) @ F.normalize(self.tag_embeds - middle, dim=-1).T
        )
        return [", ".join(self.tags[i] for i in row) for row in near.topk(self.tags_per_sound, dim=1).indices.tolist()]

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
            raise ValueError("Stable Audio has one text for a whole sound; leave out window and onset_strength")
        longest = self.native_seconds
        if seconds > longest:
            raise ValueError(
                f"Stable Audio makes at most {longest:.2f} seconds, got {seconds:g}; give a shorter duration"
            )
        given = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
        out = self.pipeline(
            prompt=self.describe(audio_embeds),
            negative_prompt=[negative_prompt] * len(audio_embeds) if negative_prompt else None,
            audio_end_in_s=seconds,
            generator=generator,
            **{name: value for name, value in given.items() if value is not None},
        )
        waves = out.audios.float().cpu().mean(1)  # stereo
        return waves[:, : round(seconds * self.sampling_rate)]
