"""The commands of V2A: vision-to-audio, evaluate-audio, fit-mapper."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mappers.command_line import Training

from .settings import FitMapperConfig, SoundConfig


@dataclass(frozen=True, kw_only=True)
class VisionToAudio:
    """Make sounds that fit pictures or videos."""

    input: Path
    """Picture, video, or folder of both."""
    output: Path
    """Sound file (.wav, .flac), for a video also .mp4 with the sound in it, or a folder when the input is one."""
    model: str = "nano"
    """Embedded model, or a folder or hub id in the layout of AudioLDM, AudioLDM 2 or Stable Audio."""
    clip: str | None = None
    """CLIP folder whose picture tower sees; the model's own when not given."""
    mapper: Path | None = None
    """Folder of a mapper from that CLIP to the model's CLAP; the model's own when not given."""
    regression_mapper: Path | None = None
    """Folder of the mapper that blend mixes in; the model's own when not given."""
    clap: str | None = None
    """ClapModel folder that ranks candidates; nano has its own."""
    duration: float | None = None
    """Seconds; the video's, or what the model was made for, when not given."""
    candidates: int = 1
    """Sounds to choose the best of."""
    seed: int = 0
    """Seed of every draw."""
    spectrogram: bool = True
    """Also write a picture of the spectrogram beside each sound."""
    debug: bool = False
    """Show the traceback of an error."""
    settings: Annotated[SoundConfig, tyro.conf.arg(name="")] = SoundConfig()

    def run(self) -> None:
        from .batch import sonify_files
        from .generation import Sonifier

        sonifier = Sonifier.load(
            self.model, clip=self.clip, mapper=self.mapper, regression_mapper=self.regression_mapper, clap=self.clap
        )
        for path in sonify_files(
            sonifier, self.input, self.output, duration=self.duration, candidates=self.candidates, seed=self.seed,
            config=self.settings, spectrogram=self.spectrogram,
        ):  # fmt: skip
            print(path)


@dataclass(frozen=True, kw_only=True)
class EvaluateAudio:
    """Measure sounds for held-out pictures, beside silence, noise, wrong pairs and the true embedding."""

    pairs: Path
    """Folder of pictures or videos and sounds, paired by name or folder."""
    output: Path
    """Folder for report.json, report.md and sounds/."""
    model: str = "nano"
    """As in vision-to-audio."""
    clip: str | None = None
    """As in vision-to-audio."""
    mapper: Path | None = None
    """As in vision-to-audio."""
    regression_mapper: Path | None = None
    """As in vision-to-audio."""
    clap: str = "nano-clap"
    """ClapModel folder, or embedded id, that the generator was trained with; also the first judge."""
    generated: Path | None = None
    """Folder of sounds made elsewhere, named as the pictures, to be measured in place of the model's."""
    extractor: tuple[str, ...] = ()
    """Further judges: ClapModel folders, or files of CNN14's or VGGish's weights."""
    sound_to_picture: Path | None = None
    """Mapper of fit-mapper --reverse, with which CS is computed."""
    duration: float | None = None
    """Seconds of a sound; what the model was made for when not given."""
    seed: int = 0
    """Seed of every draw."""
    debug: bool = False
    """Show the traceback of an error."""
    settings: Annotated[SoundConfig, tyro.conf.arg(name="")] = SoundConfig()

    def run(self) -> None:
        from .evaluation import evaluate_audio, figures_table
        from .generation import Sonifier

        sonifier = Sonifier.load(
            self.model, clip=self.clip, mapper=self.mapper, regression_mapper=self.regression_mapper, clap=self.clap
        )
        rows = evaluate_audio(
            self.pairs, self.output, sonifier=sonifier, generated=self.generated, clap=self.clap,
            extractors=self.extractor, sound_to_picture=self.sound_to_picture, duration=self.duration, seed=self.seed,
            config=self.settings,
        )  # fmt: skip
        print(figures_table(rows))


@dataclass(frozen=True, kw_only=True)
class FitMapper:
    """Train a mapper from pictures to sounds on your own pairs."""

    pairs: Path
    """Folder of pictures or videos and sounds, paired by name or folder; or an earlier run's embeddings.safetensors."""
    output: Path
    """Folder for mapper/, embeddings.safetensors, report.json, gap.md and checkpoints."""
    clip: str = "nano-audio"
    """CLIP folder, or embedded id, whose picture tower sees."""
    clap: str = "nano-clap"
    """ClapModel folder, or embedded id, that the generator was trained with."""
    cache: Path | None = None
    """Folder of embeddings that several runs may share; one in the output folder when not given."""
    training: Annotated[Training, tyro.conf.arg(name="")] = Training(config="nano")
    settings: Annotated[FitMapperConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=FitMapperConfig)

    def run(self) -> None:
        from .training import fit_mapper

        fit_mapper(
            self.pairs, self.output, clip=self.clip, clap=self.clap, cache=self.cache, config=self.settings,
            **self.training.arguments,
        )  # fmt: skip
        print((self.output / "gap.md").read_text(encoding="utf-8"), file=sys.stderr)
        print(self.output / "mapper")
