"""The command line, ``mapfield`` or ``python -m pipelines``: each command is a typed dataclass read by tyro.

torch is imported by the command that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mappers.command_line import Training, option, run_command
from mappers.hub import embedded_models
from mappers.yaml_settings import load_settings

from .editing.cli import EditNerf
from .personalization.cli import Personalize
from .personalization.settings import EvaluateConfig, FitMapperConfig, PersonalizeConfig, SoundConfig


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Generate pictures with learned words."""

    prompt: str
    """What to show; learned words stand in it as they are."""
    output: Path
    """PNG file, a grid when there are several pictures."""
    concept: tuple[Path, ...] = ()
    """Concept files to load."""
    model: str | None = None
    """Base model; that of the first concept when not given, else nano."""
    count: int = 4
    """Pictures."""
    seed: int = 0
    """Seed of the initial noise."""
    steps: int = 30
    """Denoising steps."""
    guidance_scale: float = 5.0
    """Weight of classifier-free guidance."""
    negative_prompt: str | None = None
    """What to move away from."""
    truncation: int | None = None
    """Units of the mapper that are kept: fewer is more editable."""
    region: dict[str, Path] = dataclasses.field(default_factory=dict)
    """Words and their masks, white where each acts, as large as the picture: '<cat>' left.png '<dog>' right.png."""
    image: Path | None = None
    """Picture to draw over, instead of noise alone."""
    mask: Path | None = None
    """Where to draw over it, in white; everywhere when not given."""
    strength: float = 0.8
    """How much of the schedule is drawn over it: near 0 hardly anything changes, 1 is the whole."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .personalization.generation import generate

        generate(
            self.prompt, self.output, concepts=self.concept, model=self.model, count=self.count, seed=self.seed,
            steps=self.steps, guidance_scale=self.guidance_scale, negative_prompt=self.negative_prompt,
            truncation=self.truncation, regions=self.region, image=self.image, mask=self.mask, strength=self.strength,
        )  # fmt: skip
        print(self.output)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a learned word: likeness, obedience to prompts, truncation, copies of training pictures."""

    concept: Path
    """Concept file."""
    references: Path
    """Folder of pictures of the thing that it was not learned from."""
    output: Path
    """Folder for report.json, samples.png, truncation.png and neighbours.png."""
    training: Path | None = None
    """Folder of the pictures that it was learned from, to look for copies of them."""
    model: str | None = None
    """Base model; the concept's when not given."""
    clip: str = "nano-clip"
    """CLIP that judges: folder, embedded or hub id."""
    dino: str | None = None
    """DINO that judges, likewise; left out when not given."""
    seed: int = 0
    """The first seed of noise."""
    debug: bool = False
    """Show the traceback of an error."""
    settings: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = EvaluateConfig()

    def run(self) -> None:
        from .personalization.evaluation import evaluate

        result = evaluate(
            self.concept, self.references, training=self.training, output_dir=self.output, model=self.model,
            clip=self.clip, dino=self.dino, seed=self.seed, config=self.settings,
        )  # fmt: skip
        for row, scores in result["scores"].items():
            for name, score in scores.items():
                print(f"{row}\t{name}\t{score['value']:.4f}\t({score['low']:.4f} to {score['high']:.4f})")


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
        from .audio.batch import sonify_files
        from .audio.generation import Sonifier

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
        from .audio.evaluation import as_table, evaluate_audio
        from .audio.generation import Sonifier

        sonifier = Sonifier.load(
            self.model, clip=self.clip, mapper=self.mapper, regression_mapper=self.regression_mapper, clap=self.clap
        )
        rows = evaluate_audio(
            self.pairs, self.output, sonifier=sonifier, generated=self.generated, clap=self.clap,
            extractors=self.extractor, sound_to_picture=self.sound_to_picture, duration=self.duration, seed=self.seed,
            config=self.settings,
        )  # fmt: skip
        print(as_table(rows))


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
        from .audio.training import fit_mapper

        fit_mapper(
            self.pairs, self.output, clip=self.clip, clap=self.clap, cache=self.cache, config=self.settings,
            **self.training.arguments,
        )  # fmt: skip
        print((self.output / "gap.md").read_text(encoding="utf-8"), file=sys.stderr)
        print(self.output / "mapper")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a learned word as plain vectors, for programs without mappers, and say what is lost."""

    concept: Path
    """Concept file."""
    output: Path
    """Folder for the files: one vector per layer (XTI), and one vector as diffusers and AUTOMATIC1111 read it."""
    model: str | None = None
    """Base model; that of the concept when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .personalization.concepts import load_concept
        from .personalization.exports import FILES, export_concept
        from .personalization.pipeline import NeTIPipeline

        concept = load_concept(self.concept)
        pipeline = NeTIPipeline.from_model(self.model or concept.model)
        kept = export_concept(pipeline, pipeline.load_concept(concept), self.output)
        for layout, share in kept.items():
            print(f"{self.output / FILES[layout]}\tkeeps {share:.0%} of what the word adds to its category")


@dataclass(frozen=True, kw_only=True)
class ImportNeTI:
    """Turn the two files of an official NeTI run into a concept, without running anything in them."""

    mapper: Path
    """mapper-steps-N.pt"""
    embeds: Path
    """learned_embeds-steps-N.bin"""
    output: Path
    """Folder for concept.safetensors."""
    model: str | None = None
    """Base model of the run, a folder or hub id; the one that the file names when not given."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .personalization.concepts import save_concept
        from .personalization.official_neti import import_neti

        concept = import_neti(self.mapper, self.embeds, model=self.model)
        print(save_concept(concept, self.output / "concept.safetensors"))


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that work offline, one line each: id, kind, parameters, size, folder."""

    json: bool = False
    """As JSON."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        found = embedded_models()
        if self.json:
            rows = [
                {
                    "id": m.id,
                    "kind": m.kind,
                    "about": m.about,
                    "parameters": m.parameters,
                    "bytes": m.size,
                    "folder": str(m.folder),
                }
                for m in found
            ]
            print(json.dumps(rows, indent=2))
            return
        for m in found:
            print(f"{m.id}\t{m.kind} ({m.about})\t{m.parameters / 1e6:.2f}M\t{m.size / 1e6:.1f} MB\t{m.folder}")


Command = (
    Annotated[Personalize, tyro.conf.subcommand("personalize")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[VisionToAudio, tyro.conf.subcommand("vision-to-audio")]
    | Annotated[EvaluateAudio, tyro.conf.subcommand("evaluate-audio")]
    | Annotated[FitMapper, tyro.conf.subcommand("fit-mapper")]
    | Annotated[EditNerf, tyro.conf.subcommand("edit-nerf")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[ImportNeTI, tyro.conf.subcommand("import-neti")]
    | Annotated[Models, tyro.conf.subcommand("models")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(Command, words, prog="mapfield", default=defaults)


def defaults(words: list[str]) -> Personalize | FitMapper | None:
    """A training's settings file has to be read before the command line that may override it."""
    command = words[0] if words else ""
    if command == "personalize":
        name = option(words, "--config", Personalize.training.config)
        settings = load_settings(PersonalizeConfig, name, task="personalize")
        return Personalize(images=tyro.MISSING, token=tyro.MISSING, output=tyro.MISSING, settings=settings)
    if command == "fit-mapper":
        name = option(words, "--config", FitMapper.training.config)
        settings = load_settings(FitMapperConfig, name, task="fit_mapper")
        return FitMapper(pairs=tyro.MISSING, output=tyro.MISSING, settings=settings)
    return None
