"""Options that functions of `pipelines.audio` share with their commands. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mappers.options import OutputOptions

SHORTEST, LONGEST = 0.1, 600.0
"""Seconds of a sound: generators need some frames, and the memory that they need grows with the length."""


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions:
    """Which models make a sound."""

    model: str = "nano"
    """Embedded model "nano", or a folder or hub id in the layout of AudioLDM, AudioLDM 2 or Stable Audio."""
    clip: str | None = None
    """Folder of the CLIP that encodes pictures; if not given, the model's own."""
    mapper: Path | None = None
    """Folder of a mapper from this CLIP to the model's CLAP; if not given, the model's own."""
    regression_mapper: Path | None = None
    """Folder of the regression mapper for the setting blend; if not given, the model's own."""


@dataclass(frozen=True, kw_only=True)
class RankedGeneratorOptions(GeneratorOptions):
    """Which models make sounds and rank them."""

    clap: str | None = None
    """ClapModel folder that ranks candidates, and describes embeddings to Stable Audio; nano has its own."""


@dataclass(frozen=True, kw_only=True)
class SoundOptions:
    """Arguments of `pipelines.vision_to_audio` about the sounds."""

    duration: float | None = None
    """Length in seconds; if not given, the video's, or for a picture the length that the model was trained for."""
    candidates: int = 1
    """Number of sounds for each picture, ranked by CLAP similarity to the embedding they were generated from."""
    seed: int = 0
    """Seed of all random draws."""

    def __post_init__(self) -> None:
        check_sound(self.duration, self.candidates)


@dataclass(frozen=True, kw_only=True)
class FileOptions(OutputOptions):
    """Arguments of `pipelines.audio.batch.sound_jobs`."""

    source: Annotated[Path, tyro.conf.arg(name="input")]
    """Picture, video, or a folder of both."""
    output: Path
    """Sound file (.wav or .flac); for a video also .mp4, with the sound in it.
    For a folder, a folder, where pictures become .wav and videos .mp4 of the same name."""
    spectrogram: bool = True
    """Also write a picture of each sound's spectrogram, NAME.spectrogram.png."""


@dataclass(frozen=True, kw_only=True)
class EvaluateAudioOptions(OutputOptions):
    """Arguments of `pipelines.evaluate_audio`."""

    pairs: Path
    """Folder of pictures or videos and of sounds, paired by file name or by folder name."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for report.json, report.md and sounds/."""
    clap: str = "nano-clap"
    """CLAP that the generator was trained with: a ClapModel folder or an embedded id.
    It gives the CLAP score, retrieval and the first set of features."""
    generated: Path | None = None
    """Folder of sounds made elsewhere, named like the pictures, to measure instead of the model's.
    The row "oracle" is then left out."""
    extractors: Annotated[tuple[str, ...], tyro.conf.arg(name="extractor")] = ()
    """Further feature extractors: ClapModel folders, or weight files of CNN14 or VGGish."""
    sound_to_picture: Path | None = None
    """Folder of a mapper that fit-mapper --reverse trained, for the CLIP score (CS); if not given, CS is left out."""
    duration: float | None = None
    """Length of each sound in seconds; if not given, the length that the model was trained for.
    References are cut or padded with silence to it."""
    seed: int = 0
    """Seed of all random draws."""

    def __post_init__(self) -> None:
        check_sound(self.duration)


@dataclass(frozen=True, kw_only=True)
class FitMapperOptions:
    """Arguments of `pipelines.fit_mapper`."""

    pairs: Path
    """Folder of pictures or videos and of sounds, paired by file name or by folder name.
    Or embeddings.safetensors of an earlier run, which needs neither CLIP nor CLAP."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for mapper/, embeddings.safetensors, report.json, gap.md and checkpoints."""
    clip: str = "nano-audio"
    """CLIP that encodes pictures: a folder or an embedded id."""
    clap: str = "nano-clap"
    """CLAP that the generator was trained with: a ClapModel folder or an embedded id."""
    cache: Path | None = None
    """Folder of cached embeddings, which several runs may share; if not given, one in the output folder."""


def check_sound(duration: float | None, candidates: int = 1) -> None:
    """Refuse a length or a number of sounds that no generator can make.

    Raises:
        ValueError: ``duration`` is not in `SHORTEST` to `LONGEST`, or ``candidates`` is below 1.
    """
    if duration is not None and not SHORTEST <= duration <= LONGEST:
        raise ValueError(f"duration must be {SHORTEST:g} to {LONGEST:g} seconds, got {duration:g}")
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
