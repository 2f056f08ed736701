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
from mappers.settings import load_settings

from .settings import PersonalizeConfig


@dataclass(frozen=True, kw_only=True)
class Personalize:
    """Learn a new word from a few pictures."""

    images: Path
    """Folder of pictures, or one picture."""
    token: str
    """The new word, such as '<my-cat>'."""
    output: Path
    """Folder for concept.safetensors, samples.png, loss.png and report.json."""
    model: str = "nano"
    """Embedded model, Stable Diffusion folder, or hub id."""
    category: str | None = None
    """What kind of thing it is, such as 'toy'."""
    training: Annotated[Training, tyro.conf.arg(name="")] = Training(config="nano")
    settings: Annotated[PersonalizeConfig, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=PersonalizeConfig
    )

    def run(self) -> None:
        from .personalization import personalize

        personalize(
            self.images, self.token, model=self.model, category=self.category, output_dir=self.output,
            config=self.settings, **self.training.arguments,
        )  # fmt: skip
        print(self.output / "concept.safetensors")


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
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .generation import generate

        generate(
            self.prompt, self.output, concepts=self.concept, model=self.model, count=self.count, seed=self.seed,
            steps=self.steps, guidance_scale=self.guidance_scale, negative_prompt=self.negative_prompt,
            truncation=self.truncation,
        )  # fmt: skip
        print(self.output)


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
                    "parameters": m.parameters,
                    "bytes": m.size,
                    "folder": str(m.folder),
                }
                for m in found
            ]
            print(json.dumps(rows, indent=2))
            return
        for m in found:
            print(f"{m.id}\t{m.kind}\t{m.parameters / 1e6:.2f}M\t{m.size / 1e6:.1f} MB\t{m.folder}")


Command = (
    Annotated[Personalize, tyro.conf.subcommand("personalize")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Models, tyro.conf.subcommand("models")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(Command, words, prog="mapfield", default=_defaults)


def _defaults(words: list[str]) -> Personalize | None:
    """`personalize`'s settings file has to be read before the command line that may override it."""
    if not words or words[0] != "personalize":
        return None
    settings = load_settings(
        PersonalizeConfig, option(words, "--config", Personalize.training.config), task="personalize"
    )
    return Personalize(images=tyro.MISSING, token=tyro.MISSING, output=tyro.MISSING, settings=settings)
