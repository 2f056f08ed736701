"""The command ``personalize``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from mappers.command_line import Training

from .settings import PersonalizeConfig

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
