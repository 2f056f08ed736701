"""The commands of personalization: personalize, generate, evaluate, export and import-neti."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from mappers.command_line import Configured, Training
from mappers.files import check_outputs, writable_folder
from mappers.options import OutputOptions
from mappers.yaml_settings import load_settings

from .options import CONCEPT, EvaluateOptions, GenerateOptions, ImportOptions, PersonalizeOptions
from .settings import EvaluateConfig, PersonalizeConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Personalize(Configured):
    """Learn a new word from a few pictures, or several words in one run: --images cat dog --token '<cat>' '<dog>'."""

    images: tuple[Path, ...]
    """Folder of pictures, or pictures. For several words, one folder for each, in the order of the words."""
    token: tuple[str, ...]
    """The new word, such as '<my-cat>', or several words."""
    options: Annotated[PersonalizeOptions, tyro.conf.arg(name="")]
    training: Annotated[Training, tyro.conf.arg(name="")] = Training(config="nano")
    settings: Annotated[PersonalizeConfig, tyro.conf.arg(name="")] = PersonalizeConfig()

    def chosen_settings(self) -> PersonalizeConfig:
        return load_settings(PersonalizeConfig, self.training.config or "nano", task="personalize")

    def run(self) -> None:
        if len(set(self.token)) < len(self.token):
            raise ValueError(f"token has a word twice: {', '.join(self.token)}; choose another")
        several = len(self.token) == 1 and len(self.images) > 1
        images = {self.token[0]: self.images} if several else self._of_each("images", self.images)
        if several and any(path.is_dir() for path in self.images):
            raise ValueError("images has several folders for one token; give one folder, or only picture files")
        category = self._of_each("category", self.options.category) or None
        masks = self._of_each("masks", self.options.masks) or None
        from .training import concept_files, personalize

        personalize(
            images, category=category, masks=masks, model=self.options.model, model_config=self.options.model_config,
            output_dir=self.options.output_dir, config=self.settings, **vars(self.training.length),
        )  # fmt: skip
        for file in concept_files(self.options.output_dir, self.token):
            print(file)

    def _of_each(self, name: str, values: Sequence[T]) -> dict[str, T]:
        """Values by word; a single category, or a single entry of masks, serves for all words."""
        if len(values) == 1 and name != "images":
            values = [values[0]] * len(self.token)
        if values and len(values) != len(self.token):
            raise ValueError(
                f"{name} has {len(values)} entries for {len(self.token)} tokens; give one for each, in their order"
                + (" (all pictures of a word in one folder)" if name == "images" else "")
            )
        return dict(zip(self.token, values, strict=False))


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Generate pictures with learned words."""

    options: Annotated[GenerateOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        from .generation import generate

        generate(**vars(self.options))
        print(self.options.output)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a learned word: similarity to its pictures and to prompts, truncation, copies of training pictures."""

    options: Annotated[EvaluateOptions, tyro.conf.arg(name="")]
    settings: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = EvaluateConfig()

    def run(self) -> None:
        from .evaluation import evaluate

        result = evaluate(**vars(self.options), config=self.settings)
        for row, scores in result["scores"].items():
            for name, score in scores.items():
                print(f"{row}\t{name}\t{score['value']:.4f}\t({score['low']:.4f} to {score['high']:.4f})")


@dataclass(frozen=True, kw_only=True)
class Export(OutputOptions):
    """Write a learned word as plain vectors, for programs without mappers, and report how much of it they keep."""

    concept: str
    """Concept: a file, a folder with concept.safetensors, or a hub id."""
    output: Path
    """Folder for the files: one vector per layer (XTI), and one in the formats of diffusers and AUTOMATIC1111."""
    model: str | None = None
    """Base model; if not given, the concept's."""
    model_config: str | None = None
    """Of a model in a single file: a folder or hub id with its configuration; if not given, the published one."""
    any_base: bool = False
    """Export a word that was learned on other weights than the model's, with a warning."""

    def run(self) -> None:
        from .concept_hub import from_pretrained
        from .exports import FILES, export_concept
        from .generation import base_of

        files = [self.output / name for name in FILES.values()]
        check_outputs(files, inputs=[Path(self.concept)], overwrite=self.overwrite)
        writable_folder(self.output)
        concept = from_pretrained(self.concept)
        pipeline = base_of([concept], self.model, self.model_config)
        token = pipeline.load_concept(concept, any_base=self.any_base)
        kept = export_concept(pipeline, token, self.output)
        for layout, share in kept.items():
            print(f"{self.output / FILES[layout]}\tkeeps {share:.0%} of what the word adds to its category")


@dataclass(frozen=True, kw_only=True)
class ImportNeTI(OutputOptions):
    """Convert the two files of an official NeTI run to a concept file. No code in them is run."""

    options: Annotated[ImportOptions, tyro.conf.arg(name="")]
    output: Path
    """Folder for concept.safetensors."""

    def run(self) -> None:
        from .concepts import save_concept
        from .official_neti import import_neti

        output = self.output / CONCEPT
        check_outputs([output], inputs=[self.options.mapper, self.options.embeds], overwrite=self.overwrite)
        writable_folder(self.output)
        print(save_concept(import_neti(**vars(self.options)), output))
