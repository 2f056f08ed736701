"""The command ``edit-nerf``; torch is imported when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EditNerf:
    """Edit an object of a category by text or by a picture: --instance 12 --text "a tall red chair"."""

    output: Path
    """Folder for before.png, after.png, turntable.gif, edit.safetensors and report.json."""
    model: str = "nano-chairs"
    """Category model: nano-chairs, nano-cars, or a folder."""
    instance: int | None = None
    """Number of a training object; the first when neither it, nor a seed, nor a picture is given."""
    seed: int | None = None
    """Seed of an object that was not trained on."""
    image: Path | None = None
    """Picture of an object, which is found first; with transparency, on a plain ground, or with a mask."""
    mask: Path | None = None
    """Mask of that picture, white where the object is."""
    text: str | None = None
    """What the object should be."""
    exemplar: Path | None = None
    """Picture of an object that it should be like, in place of a text."""
    strength: float = 1.0
    """Share of the edit; 0 changes nothing, negative numbers move away."""
    shape: bool = True
    """Whether the shape may change."""
    appearance: bool = True
    """Whether the colours may change."""
    method: Literal["mapper", "ridge", "optimize"] | None = None
    """Trained mapper, closed form, or optimisation for this text; the mapper if there is one, else the closed form."""
    mapper: Path | None = None
    """Folder of a mapper in place of the model's own."""
    clip: str | None = None
    """CLIP of texts and exemplars: folder, embedded or hub id; that which the mapper was trained with if not given."""
    size: int = 128
    """Width and height of the two pictures."""
    views: int = 12
    """Pictures of the turntable."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .files import FILES, edit_to_folder

        report = edit_to_folder(
            self.output, model=self.model, instance=self.instance, seed=self.seed, text=self.text,
            exemplar=self.exemplar, image=self.image, mask=self.mask, strength=self.strength, shape=self.shape,
            appearance=self.appearance, clip=self.clip, method=self.method, mapper=self.mapper, size=self.size,
            views=self.views,
        )  # fmt: skip
        for name, figures in report["figures"].items():
            print(f"{self.output / FILES[name]}\t" + "\t".join(f"{key} {value:.3f}" for key, value in figures.items()))
        print(self.output / FILES["turntable"])
