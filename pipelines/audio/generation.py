"""Generate sounds for pictures and videos with a frozen audio generator: V2A-Mapper (arXiv 2308.09300)."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mappers.devices import default_device
from mappers.hub import resolve
from mappers.options import declared_by
from mappers.pictures import VIDEO_ENDINGS
from mappers.training.draws import key

from ..images import load_images
from ..personalization.domain_check import LIMIT
from .audioldm import AudioLDMBackend
from .backends import AudioBackend, BackendOptions
from .clap import Clap
from .conditioning import aggregate, remove_directions, translate
from .encoders import NANO, NANO_CLAP, VisionEncoder, load_vision_encoder
from .files import Frames, read_frames
from .loading import load_backend
from .loudness import leveled
from .options import LONGEST, RankedGeneratorOptions, SoundOptions, check_sound
from .settings import SoundConfig
from .timing import find_onsets, frame_motion, onset_gain, window_embeds

logger = logging.getLogger(__name__)

FRAME_SECONDS = 0.01
"""Seconds for each frame of AudioLDM's spectrograms."""
MIN_ONSET_FPS = 12.0
"""Frames of a video that are read per second, at least, when onsets are detected."""

Source = str | Path | Image.Image | np.ndarray | Sequence[str | Path | Image.Image | np.ndarray]


@dataclass
class Sounds:
    """Sounds of pictures or of one video.

    Sounds of one picture adjoin. Several candidates are ranked by CLAP similarity to the embedding they were generated
    from, the best first.
    """

    audios: Float[np.ndarray, "n samples"]
    """float32, of -23 LUFS, or less where the true peak would exceed -1 dBTP."""
    sampling_rate: int
    """Samples per second."""
    audio_embeds: Float[Tensor, "n a"]
    """CLAP embedding that each sound was generated from, of unit length; the mean of several along a sound."""
    scores: list[float] | None
    """Cosine of each sound's own CLAP embedding with ``audio_embeds``; None with one candidate, which needs no rank."""
    candidates: int
    """Sounds generated for each picture."""

    @property
    def best(self) -> Float[np.ndarray, "k samples"]:
        """The best sound of each picture."""
        return self.audios[:: self.candidates]


class Sonifier:
    """An audio generator with a vision encoder, loaded once for many pictures.

    Args:
        backend: generates sounds from CLAP embeddings.
        vision_encoder: turns pictures into CLAP embeddings.
        clap: ranks candidates.

    Raises:
        ValueError: the parts were trained with different CLIP or CLAP models.
    """

    def __init__(self, backend: AudioBackend, vision_encoder: VisionEncoder, clap: Clap | None = None):
        vision_encoder.check(backend.space_id)
        if clap is not None and clap.space_id != backend.space_id:
            raise ValueError(
                f"the CLAP given ({clap.space_id}) is not the generator's ({backend.space_id}); give the CLAP that the"
                " generator was trained with"
            )
        self.backend, self.vision_encoder, self.clap = backend, vision_encoder, clap

    @classmethod
    @declared_by(RankedGeneratorOptions)
    def load(
        cls,
        model: str | Path = "nano",
        *,
        clip: str | Path | None = None,
        mapper: str | Path | None = None,
        regression_mapper: str | Path | None = None,
        clap: str | Path | None = None,
        device: str | None = None,
    ) -> Sonifier:
        """Load the parts of `vision_to_audio`; see there."""
        on = device or default_device()
        nano = str(model) == "nano"
        chosen = NANO_CLAP if clap is None and nano else clap
        judge = None if chosen is None else Clap.from_folder(resolve(chosen, "CLAP"))
        backend = load_backend(NANO if nano else model, clap=judge, device=on)
        own = backend.pipeline if isinstance(backend, AudioLDMBackend) else None
        of_nano = nano or str(model) == NANO
        return cls(backend, load_vision_encoder(own, clip, mapper, regression_mapper, on, of_nano=of_nano), judge)

    @declared_by(SoundOptions)
    def __call__(
        self,
        image_or_video: Source,
        *,
        duration: float | None = None,
        candidates: int = 1,
        seed: int = 0,
        config: SoundConfig | None = None,
    ) -> Sounds:
        """Sounds of pictures or of one video; see `vision_to_audio`."""
        config = config or SoundConfig()
        check_sound(duration, candidates)
        if candidates > 1 and self.clap is None:
            raise ValueError("ranking candidates needs a CLAP model; give clap=, the generator's own")
        frames = _video(image_or_video, config)
        seconds = duration or (_length(image_or_video, frames) if frames else self.backend.native_seconds)
        embeds, gain = self._embed(image_or_video, frames, seconds, config)
        unlike = self.vision_encoder.out_of_domain(embeds.flatten(0, 1))
        for number in sorted({row // embeds.shape[1] for row in unlike}):
            which = f"picture {number + 1}" if len(embeds) > 1 else "the input"
            logger.warning("%s is unlike all pictures that the mapper was trained on; its sound may not fit", which)
        return self.from_embeddings(
            embeds, [seed] * len(embeds), seconds=seconds, candidates=candidates, config=config, frame_gain=gain
        )

    def from_embeddings(
        self,
        embeds: Float[Tensor, "k w c"],
        seeds: Sequence[int],
        *,
        seconds: float,
        candidates: int = 1,
        config: SoundConfig,
        frame_gain: Float[Tensor, " frames"] | None = None,
    ) -> Sounds:
        """Sounds for picture embeddings.

        Args:
            embeds: CLIP image embeddings for each of k sounds: one, or those of w equal windows along it.
            seeds: one for each row of ``embeds``.
            seconds: length of each sound.
            candidates: sounds for each row.
            config: all other settings.
            frame_gain: added to the frames of the log-mel spectrogram.
        """
        audio_embeds = self._translated(embeds, seeds, candidates, config)
        if not self.backend.keeps_time or (config.window is None and seconds <= self.backend.native_seconds):
            audio_embeds = audio_embeds[:, 0]
        generators = _generators(seeds, candidates, "sound")
        options = BackendOptions.from_config(config, seconds=seconds, generator=generators, frame_gain=frame_gain)
        waves = self.generate(audio_embeds, options)
        mean = audio_embeds if audio_embeds.ndim == 2 else F.normalize(audio_embeds.mean(1), dim=-1)
        return self._ranked(waves, mean, candidates)

    def generate(
        self, audio_embeds: Float[Tensor, "n *w a"], options: BackendOptions
    ) -> Float[np.ndarray, "n samples"]:  # fmt: skip
        """Sounds of the backend, at the loudness that sounds have here (`pipelines.audio.loudness.leveled`).

        Set before they are ranked, so that what is ranked is what is heard.

        Raises:
            ValueError: the generator's numbers overflow.
        """
        waves, rate = self.backend.generate(audio_embeds, options).numpy(), self.backend.sampling_rate
        if not np.isfinite(waves).all():
            raise ValueError("the generator made numbers that are not finite; set a guidance_scale nearer to 1")
        return np.stack([leveled(wave, rate) for wave in waves])

    def _embed(
        self, source: Source, frames: Frames | None, seconds: float, config: SoundConfig
    ) -> tuple[Float[Tensor, "k w c"], Float[Tensor, " frames"] | None]:
        """CLIP image embeddings (of windows along a video) and the frame gain of its onsets."""
        if frames is None:
            if config.window or config.onset_strength:
                raise ValueError("window and onset_strength are for videos; a picture has no time; leave them out")
            pictures = load_images([source] if isinstance(source, Image.Image | np.ndarray) else source)
            for number, picture in enumerate(pictures, 1):
                self._warn_if_unknown([picture], f"picture {number}" if len(pictures) > 1 else "the input")
            return self.vision_encoder.embed(pictures)[:, None], None
        if not self.backend.keeps_time and (config.window or config.onset_strength):
            raise ValueError(
                "this generator takes one embedding for a whole sound; leave out window and onset_strength"
            )
        self._warn_if_unknown(frames.pictures, "the input")
        embeds = self.vision_encoder.embed(frames.pictures)
        if config.window is None:
            windows = aggregate(embeds)
        else:
            windows = window_embeds(embeds, frames.times, seconds, config.window)
        if not config.onset_strength:
            return windows[None], None
        onsets = find_onsets(frame_motion(frames.pictures), frames.times)
        frames_of_mel = math.ceil(seconds / FRAME_SECONDS)
        return windows[None], onset_gain(onsets, frames_of_mel, FRAME_SECONDS, config.onset_strength)

    def _warn_if_unknown(self, pictures: Sequence[Image.Image], which: str) -> None:
        """Warn of pictures that nano does not know, as `pipelines.personalize` does."""
        shares = self.vision_encoder.unknown_share(pictures)
        if shares and float(np.mean(shares)) > LIMIT:
            logger.warning(
                "%s is far from what nano knows: its autoencoder loses %.1f %% of it, of pictures of its own world "
                "seldom more than %.1f %%. Its sound will hardly fit; give model= an AudioLDM folder or hub id instead",
                which,
                100 * float(np.mean(shares)),
                100 * LIMIT,
            )

    def _translated(
        self, embeds: Float[Tensor, "k w c"], seeds: Sequence[int], candidates: int, config: SoundConfig
    ) -> Float[Tensor, "n w a"]:
        """CLAP embeddings, steered by text. Windows of one sound share their noise; else it would change at random."""
        count, windows, _ = embeds.shape
        rows = embeds.repeat_interleave(candidates, 0).flatten(0, 1)
        encoder = self.vision_encoder
        found = translate(
            rows.to(encoder.mapper.device), encoder.mapper, encoder.regression_mapper, blend=config.blend,
            generator=_generators(seeds, candidates, "mapper", windows),
            num_inference_steps=config.mapper_steps, guidance_scale=config.mapper_guidance_scale,
        ).cpu()  # fmt: skip
        if config.prompt is not None:
            text = self.backend.encode_prompt([config.prompt])
            found = F.normalize(torch.lerp(found, text.expand_as(found), config.prompt_weight), dim=-1)
        if config.without:
            # Relative to the empty text: sounds must not lose the component that all texts share.
            texts = self.backend.encode_prompt([*config.without, ""])
            found = remove_directions(found, texts[:-1] - texts[-1:])
        return found.unflatten(0, (count * candidates, windows))

    def _ranked(self, waves: Float[np.ndarray, "n samples"], embeds: Float[Tensor, "n a"], candidates: int) -> Sounds:
        rate = self.backend.sampling_rate
        if candidates == 1 or self.clap is None:
            return Sounds(waves, rate, embeds, None, candidates)
        scores = (self.clap.embed_sounds(list(waves), rate) * embeds).sum(1)
        order = scores.view(-1, candidates).argsort(1, descending=True)
        order = (order + torch.arange(0, len(waves), candidates)[:, None]).flatten()
        return Sounds(waves[order.numpy()], rate, embeds[order], scores[order].tolist(), candidates)


@declared_by(RankedGeneratorOptions, SoundOptions)
def vision_to_audio(
    image_or_video: Source,
    *,
    model: str | Path = "nano",
    duration: float | None = None,
    candidates: int = 1,
    seed: int = 0,
    clip: str | Path | None = None,
    mapper: str | Path | None = None,
    regression_mapper: str | Path | None = None,
    clap: str | Path | None = None,
    device: str | None = None,
    **settings: Any,
) -> Sounds:
    """Make sounds that fit pictures or a video.

    Args:
        image_or_video: a picture (file, PIL image, array), several, a folder of them, or a video file. Every picture
            gets its own sound; the frames of a video share one.
        device: where to compute; None takes a GPU when there is one.
        **settings: any field of `pipelines.audio.settings.SoundConfig`, such as ``negative_prompt`` or ``blend``.

    Returns:
        The sounds: ``audios`` is float32 [pictures x candidates, samples].

    Raises:
        FileNotFoundError: a file or model does not exist.
        ValueError: an input, a setting or a pair of models cannot be used; the message says which and why.
    """
    config = sound_config(settings)
    check_sound(duration, candidates)
    check_source(image_or_video)
    sonifier = Sonifier.load(
        model, clip=clip, mapper=mapper, regression_mapper=regression_mapper, clap=clap, device=device
    )
    return sonifier(image_or_video, duration=duration, candidates=candidates, seed=seed, config=config)


def check_source(source: Source) -> None:
    """Refuse files that do not exist.

    Raises:
        FileNotFoundError: there is no such file or folder; the message names the first.
    """
    named = source if isinstance(source, list | tuple) else [source]
    for path in (Path(each).expanduser() for each in named if isinstance(each, str | Path)):
        if not path.exists():
            raise FileNotFoundError(f"there is no picture, video or folder {path}")


def sound_config(settings: dict[str, Any]) -> SoundConfig:
    """The `SoundConfig` with these fields.

    Raises:
        ValueError: a field is unknown or out of range.
    """
    known = [field.name for field in dataclasses.fields(SoundConfig)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}; known are {', '.join(known)}")
    return SoundConfig(**settings)


def _generators(seeds: Sequence[int], candidates: int, name: str, copies: int = 1) -> list[torch.Generator]:
    """One for each sound. It depends on seed and candidate number only: a picture sounds the same in any batch."""
    keys = [key(seed, candidate, name) for seed in seeds for candidate in range(candidates)]
    return [torch.Generator().manual_seed(number) for number in keys for _ in range(copies)]


def _length(source: Any, frames: Frames) -> float:
    """Seconds of the sound of a whole video; a very short video gets a longer sound.

    Raises:
        ValueError: the video is longer than a sound can be.
    """
    if frames.seconds > LONGEST:
        raise ValueError(f"{source} lasts {frames.seconds:.0f} seconds; set duration, of at most {LONGEST:g} seconds")
    return frames.seconds


def _video(source: Source, config: SoundConfig) -> Frames | None:
    """The frames of ``source`` if it is a video file, else None."""
    if isinstance(source, str | Path) and Path(source).suffix.lower() in VIDEO_ENDINGS:
        # The time of an onset is as uncertain as the distance of two frames.
        least = MIN_ONSET_FPS if config.onset_strength else 0.0
        return read_frames(source, per_second=max(config.frames_per_second, least))
    return None
