"""Audio generators behind one protocol: what makes a sound of a CLAP embedding.

A folder says by its ``model_index.json`` which generator it holds: AudioLDM's layout (with or without our own parts),
AudioLDM 2 or Stable Audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from diffusers import DiffusionPipeline
from jaxtyping import Float
from torch import Tensor

from mappers.hub import resolve

from .clap import Clap, clap_space
from .conditioning import Generators
from .pipeline import VisionToAudioPipeline


class AudioBackend(Protocol):
    """Makes sounds of CLAP embeddings."""

    space_id: str
    """Of the CLAP whose embeddings it understands; mappers into other spaces are refused."""
    sampling_rate: int
    """Samples per second."""
    native_seconds: float
    """Length that it makes when no other is asked for."""
    keeps_time: bool
    """Whether it takes embeddings along the sound, and gains of frames."""

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        """CLAP text embeddings of unit length."""
        ...

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
        """Sounds of exactly ``round(seconds * sampling_rate)`` samples.

        Args:
            audio_embeds: of unit length, one a sound or, where time is kept, those of windows along it.
            seconds: length.
            negative_prompt: what to move away from.
            guidance_scale: None takes the generator's own.
            num_inference_steps: None takes the generator's own.
            generator: one for all sounds or one a sound.
            tile_seconds: where time is kept, how long a tile is.
            frame_gain: where time is kept, added to the frames of the log-mel spectrogram.

        Raises:
            ValueError: an argument cannot be used.
        """
        ...


class AudioLDMBackend:
    """AudioLDM's layout, by `VisionToAudioPipeline`."""

    keeps_time = True

    def __init__(self, pipeline: VisionToAudioPipeline):
        if pipeline.text_encoder is None:
            raise ValueError("the model has no text_encoder, which guidance and the check of mappers need")
        self.pipeline = pipeline
        self.space_id = clap_space(pipeline.text_encoder)
        self.sampling_rate: int = pipeline.vocoder.config.sampling_rate
        rows = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        self.native_seconds: float = rows * pipeline.hop / self.sampling_rate

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        return self.pipeline.encode_prompt(prompts).cpu()

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
        given = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
        out = self.pipeline(
            audio_embeds=audio_embeds,
            audio_length_in_s=seconds,
            negative_prompt=negative_prompt,
            generator=generator,
            tile_length_in_s=tile_seconds,
            frame_gain=frame_gain,
            **{name: value for name, value in given.items() if value is not None},
        )
        return torch.from_numpy(out.audios)


def load_backend(model: str | Path, *, clap: Clap | None = None, device: str = "cpu") -> AudioBackend:
    """The generator in ``model``.

    Args:
        model: embedded id, folder or hub id.
        clap: what Stable Audio, which has no CLAP of its own, is described with.
        device: where to.

    Raises:
        FileNotFoundError: ``model`` names nothing that can be loaded.
        ValueError: it holds a generator of another kind, or needs ``clap`` and has none.
    """
    folder = resolve(model, "vision-to-audio")
    try:
        name = DiffusionPipeline.load_config(folder)["_class_name"]
        if name in ("AudioLDMPipeline", "VisionToAudioPipeline"):
            pipeline = VisionToAudioPipeline.from_pretrained(folder, dtype=torch.float32).to(device)
            pipeline.set_progress_bar_config(disable=None)
            return AudioLDMBackend(pipeline)
        if name == "AudioLDM2Pipeline":
            from .audioldm2 import AudioLDM2Backend

            return AudioLDM2Backend.from_folder(folder, device=device)
        if name == "StableAudioPipeline":
            from .stable_audio import StableAudioBackend

            return StableAudioBackend.from_folder(folder, clap=clap, device=device)
    except ImportError as error:
        raise ValueError(f"the model {str(model)!r} needs a package that is not installed: {error}") from error
    except OSError as error:
        raise FileNotFoundError(
            f"could not load the model {str(model)!r} ({str(error).splitlines()[0]}); give a folder in the layout of"
            " AudioLDM, AudioLDM 2 or Stable Audio, or use 'nano' to run without downloads"
        ) from error
    raise ValueError(f"{model} holds a {name}; audio generators are AudioLDM, AudioLDM 2 and Stable Audio")
