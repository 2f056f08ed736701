"""The interface of audio generators: CLAP embeddings in, waveforms out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from .conditioning import Generators
from .settings import SoundConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class BackendOptions:
    """All inputs of a generator other than the embeddings."""

    seconds: float
    """Length of each sound."""
    negative_prompt: str = ""
    """Text that guidance moves away from."""
    guidance_scale: float | None = None
    """Weight of classifier-free guidance; None takes the generator's default."""
    num_inference_steps: int | None = None
    """Denoising steps; None takes the generator's default."""
    generator: Generators = None
    """Source of the noise: one for all sounds, or one for each sound."""
    tile_seconds: float | None = None
    """Length of a tile; only for generators with ``keeps_time``. None takes the generator's native length."""
    frame_gain: Float[Tensor, " frames"] | None = None
    """Added to the frames of the log-mel spectrogram (natural logarithm); only for generators with ``keeps_time``."""

    @classmethod
    def from_config(
        cls,
        config: SoundConfig,
        *,
        seconds: float,
        generator: Generators = None,
        frame_gain: Float[Tensor, " frames"] | None = None,
    ) -> BackendOptions:
        """The options that ``config`` sets; tiles are twice as long as ``config.window``."""
        return cls(
            seconds=seconds,
            negative_prompt=config.negative_prompt,
            guidance_scale=config.guidance_scale,
            num_inference_steps=config.inference_steps,
            generator=generator,
            tile_seconds=2 * config.window if config.window else None,
            frame_gain=frame_gain,
        )

    @property
    def sampler_arguments(self) -> dict[str, Any]:
        """``guidance_scale`` and ``num_inference_steps`` where they are given, as diffusers' pipelines take them."""
        given = {"guidance_scale": self.guidance_scale, "num_inference_steps": self.num_inference_steps}
        return {name: value for name, value in given.items() if value is not None}

    def refuse_time(self, audio_embeds: Float[Tensor, "n *w a"], name: str) -> None:
        """Refuse options that only generators with ``keeps_time`` have; ``name`` is the generator's, for the message.

        Raises:
            ValueError: there are several embeddings along a sound, tiles or a frame gain.
        """
        if audio_embeds.ndim != 2 or self.tile_seconds is not None or self.frame_gain is not None:
            raise ValueError(f"{name} takes one embedding for each sound; leave out window and onset_strength")


class AudioBackend(Protocol):
    """An audio generator that is conditioned on CLAP embeddings."""

    space_id: str
    """Id of the CLAP space whose embeddings it takes; mappers into other spaces are refused."""
    sampling_rate: int
    """Samples per second."""
    native_seconds: float
    """Length of a sound when no other is asked for."""
    keeps_time: bool
    """Whether it takes several embeddings along one sound, and a gain for each frame."""

    def encode_prompt(self, prompts: Sequence[str]) -> Float[Tensor, "b a"]:
        """CLAP text embeddings of unit length."""
        ...

    def generate(self, audio_embeds: Float[Tensor, "n *w a"], options: BackendOptions) -> Float[Tensor, "n samples"]:
        """Generate one sound for each embedding.

        Args:
            audio_embeds: CLAP embeddings of unit length: one for each sound, or, with ``keeps_time``, those of w equal
                windows along each sound.
            options: length, guidance, noise and timing.

        Returns:
            Mono waveforms, of any loudness, of exactly ``round(options.seconds * sampling_rate)`` samples.

        Raises:
            ValueError: the generator does not support an option.
        """
        ...
