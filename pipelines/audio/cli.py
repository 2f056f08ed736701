"""The commands of vision to audio: vision-to-audio, evaluate-audio and fit-mapper."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from mappers.command_line import Configured, Training
from mappers.yaml_settings import load_settings

from .options import (
    EvaluateAudioOptions,
    FileOptions,
    FitMapperOptions,
    GeneratorOptions,
    RankedGeneratorOptions,
    SoundOptions,
)
from .settings import FitMapperConfig, SoundConfig


@dataclass(frozen=True, kw_only=True)
class VisionToAudio:
    """Generate sounds that fit pictures or videos."""

    files: Annotated[FileOptions, tyro.conf.arg(name="")]
    generator: Annotated[RankedGeneratorOptions, tyro.conf.arg(name="")] = RankedGeneratorOptions()
    sound: Annotated[SoundOptions, tyro.conf.arg(name="")] = SoundOptions()
    settings: Annotated[SoundConfig, tyro.conf.arg(name="")] = SoundConfig()

    def run(self) -> None:
        from .batch import sonify_files, sound_jobs
        from .generation import Sonifier

        jobs = sound_jobs(**vars(self.files))
        sonifier = Sonifier.load(**vars(self.generator))
        for path in sonify_files(sonifier, jobs, **vars(self.sound), config=self.settings):
            print(path)


@dataclass(frozen=True, kw_only=True)
class EvaluateAudio:
    """Measure sounds for held-out pictures, next to silence, noise, wrong pairs and sounds of the true embedding."""

    options: Annotated[EvaluateAudioOptions, tyro.conf.arg(name="")]
    generator: Annotated[GeneratorOptions, tyro.conf.arg(name="")] = GeneratorOptions()
    settings: Annotated[SoundConfig, tyro.conf.arg(name="")] = SoundConfig()

    def run(self) -> None:
        from .evaluation import evaluate_audio, figures_table, report_folder
        from .generation import Sonifier

        options = self.options
        report_folder(options.pairs, options.output_dir, generated=options.generated, overwrite=options.overwrite)
        sonifier = Sonifier.load(**vars(self.generator), clap=self.options.clap)
        print(figures_table(evaluate_audio(**vars(self.options), sonifier=sonifier, config=self.settings)))


@dataclass(frozen=True, kw_only=True)
class FitMapper(Configured):
    """Train a mapper from pictures to sounds on your own pairs."""

    options: Annotated[FitMapperOptions, tyro.conf.arg(name="")]
    training: Annotated[Training, tyro.conf.arg(name="")] = Training(config="nano")
    settings: Annotated[FitMapperConfig, tyro.conf.arg(name="")] = FitMapperConfig()

    def chosen_settings(self) -> FitMapperConfig:
        return load_settings(FitMapperConfig, self.training.config or "nano", task="fit_mapper")

    def run(self) -> None:
        from .training import fit_mapper

        fit_mapper(**vars(self.options), **vars(self.training.length), config=self.settings)
        print((self.options.output_dir / "gap.md").read_text(encoding="utf-8"), file=sys.stderr)
        print(self.options.output_dir / "mapper")
