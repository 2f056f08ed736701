"""Options that functions of `pipelines.personalization` share with their commands. Free of torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mappers.options import OutputOptions

CONCEPT = "concept.safetensors"
"""Name of the file of a learned word."""
SchedulerName = Literal["ddim", "ddpm", "dpm", "euler", "euler-ancestral", "heun", "lcm", "pndm", "unipc"]
"""Methods of denoising, by their usual names."""


@dataclass(frozen=True, kw_only=True)
class PersonalizeOptions:
    """Arguments of `pipelines.personalize`."""

    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for concept.safetensors, samples.png, loss.png and report.json. Several words get a folder each in it."""
    model: str = "nano"
    """Embedded model "nano", a folder or .safetensors file of Stable Diffusion 1, 2 or XL, or a hub id."""
    model_config: str | None = None
    """Of a model in a single file: a folder or hub id with its configuration; if not given, the published one."""
    category: tuple[str, ...] = ()
    """What kind of thing it is, such as "toy": the word starts there. If not given, "object".
    For several words, one category for all, or one for each."""
    masks: tuple[str, ...] = ()
    """Folder of masks, white where the thing is, in the order of the pictures' names.
    Or "alpha", which takes the pictures' own transparency.
    For several words, masks for each, or "alpha"."""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(OutputOptions):
    """Arguments of `pipelines.personalization.generation.generate`."""

    prompt: str
    """Text of the picture; learned words are used like any other word."""
    output: Path
    """PNG file to write; several pictures become one grid."""
    concepts: Annotated[tuple[str, ...], tyro.conf.arg(name="concept")] = ()
    """Concepts to load: files, folders with concept.safetensors, or hub ids."""
    model: str | None = None
    """Base model; if not given, that of the first concept, or else nano."""
    model_config: str | None = None
    """Of a model in a single file: a folder or hub id with its configuration; if not given, the published one."""
    any_base: bool = False
    """Load words that were learned on other weights, such as those the model was fine-tuned from, with a warning."""
    count: int = 4
    """Number of pictures."""
    seed: int = 0
    """Seed of the initial noise."""
    steps: int = 30
    """Number of denoising steps."""
    guidance_scale: float = 5.0
    """Weight of classifier-free guidance."""
    negative_prompt: str | None = None
    """Text of what the picture should not show."""
    truncation: int | None = None
    """Keep only this many units of the mapper's hidden layer: fewer make the word easier to edit by the prompt."""
    regions: Annotated[dict[str, Path], tyro.conf.arg(name="region")] = dataclasses.field(default_factory=dict)
    """Words, each with a mask that is white where the word acts: '<cat>' left.png '<dog>' right.png.
    Masks have the picture's size."""
    image: Path | None = None
    """Picture to start from, instead of noise alone."""
    mask: Path | None = None
    """Mask that is white where the picture may change; if not given, it may change everywhere."""
    strength: float = 0.8
    """How much the picture may change, 0..1: the share of the denoising steps that is run on it."""
    height: int | None = None
    """Height in pixels, a multiple of 8 for most models; if not given, the model's own."""
    width: int | None = None
    """Width in pixels, likewise."""
    scheduler: SchedulerName | None = None
    """Method of denoising; if not given, the model's own."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the weights; half of float32's memory in the others."""
    device: str | None = None
    """Where to compute, such as cpu, cuda or mps; if not given, the accelerator when there is one."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(OutputOptions):
    """Arguments of `pipelines.evaluate`."""

    concept: str
    """Concept: a file, a folder with concept.safetensors, or a hub id."""
    references: Path
    """Folder of pictures of the same thing that the word was not learned from."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for report.json, samples.png, truncation.png and, with training pictures, neighbours.png.
    In samples.png, each row is a prompt and each column a seed."""
    training: Path | None = None
    """Folder of the pictures that the word was learned from; generated pictures are searched for copies of them."""
    model: str | None = None
    """Base model; if not given, the concept's."""
    model_config: str | None = None
    """Of a model in a single file: a folder or hub id with its configuration; if not given, the published one."""
    any_base: bool = False
    """Evaluate a word that was learned on other weights than the model's, with a warning."""
    clip: str = "nano-clip"
    """CLIP for the scores: a folder, an embedded id or a hub id. Scores of different CLIPs are not comparable."""
    dino: str | None = None
    """DINO, or another image transformer, for a further score: a folder or a hub id. If not given, no such score."""
    seed: int = 0
    """First seed of the noise; further pictures of a prompt use the next ones."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Arguments of `pipelines.personalization.official_neti.import_neti`."""

    mapper: Path
    """File mapper-steps-N.pt of the run."""
    embeds: Path
    """File learned_embeds-steps-N.bin of the run; it holds the token and the vector of the category word."""
    model: str | None = None
    """Base model of the run, a folder or a hub id; if not given, the one that the mapper's file names."""
