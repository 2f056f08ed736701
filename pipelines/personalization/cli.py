"""The commands of personalization: personalize, generate, evaluate, export, import-neti."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from mappers.command_line import Training

from .settings import EvaluateConfig, PersonalizeConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Personalize:
    """Learn a new word from a few pictures, or several words in one run: --images cat dog --token '<cat>' '<dog>'."""

    images: tuple[Path, ...]
    """Folder of pictures, or one picture; of several words one for each, in their order."""
    token: tuple[str, ...]
    """The new word, such as '<my-cat>'; or several."""
    output: Path
    """Folder for concept.safetensors, samples.png, loss.png and report.json; several words have a folder each in it."""
    model: str = "nano"
    """Embedded model, Stable Diffusion folder, or hub id."""
    category: tuple[str, ...] = ()
    """What kind of thing it is, such as 'toy'; of several words one for all, or one for each."""
    masks: tuple[str, ...] = ()
    """Folder of masks, white where the thing is, in the order of the pictures; or 'alpha' for their transparency."""
    training: Annotated[Training, tyro.conf.arg(name="")] = Training(config="nano")
    settings: Annotated[PersonalizeConfig, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=PersonalizeConfig
    )

    def run(self) -> None:
        if len(set(self.token)) < len(self.token):
            raise ValueError(f"token has a word twice: {', '.join(self.token)}; choose another")
        from .training import concept_files, personalize

        personalize(
            self._of_each("images", self.images), category=self._of_each("category", self.category) or None,
            masks=self._of_each("masks", self.masks) or None, model=self.model, output_dir=self.output,
            config=self.settings, **self.training.arguments,
        )  # fmt: skip
        for file in concept_files(self.output, self.token):
            print(file)

    def _of_each(self, name: str, values: Sequence[T]) -> dict[str, T]:
        """Values by word; one of category and masks does for all words."""
        if len(values) == 1 and name != "images":
            values = [values[0]] * len(self.token)
        if values and len(values) != len(self.token):
            raise ValueError(
                f"{name} has {len(values)} entries for {len(self.token)} tokens; give one for each, in their order"
            )
        return dict(zip(self.token, values, strict=False))


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
        from .generation import generate

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
        from .evaluation import evaluate

        result = evaluate(
            self.concept, self.references, training=self.training, output_dir=self.output, model=self.model,
            clip=self.clip, dino=self.dino, seed=self.seed, config=self.settings,
        )  # fmt: skip
        for row, scores in result["scores"].items():
            for name, score in scores.items():
                print(f"{row}\t{name}\t{score['value']:.4f}\t({score['low']:.4f} to {score['high']:.4f})")


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
        from .concepts import load_concept
        from .exports import FILES, export_concept
        from .pipeline import NeTIPipeline

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
        from .concepts import save_concept
        from .official_neti import import_neti

        concept = import_neti(self.mapper, self.embeds, model=self.model)
        print(save_concept(concept, self.output / "concept.safetensors"))
