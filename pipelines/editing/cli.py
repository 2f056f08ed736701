"""The command edit-nerf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from .options import EditOptions, FolderOptions, ObjectOptions


@dataclass(frozen=True, kw_only=True)
class EditNerf:
    """Edit an object of a category by text or by a picture: --instance 12 --text "a tall red chair"."""

    folder: Annotated[FolderOptions, tyro.conf.arg(name="")]
    object: Annotated[ObjectOptions, tyro.conf.arg(name="")] = ObjectOptions()
    edit: Annotated[EditOptions, tyro.conf.arg(name="")] = EditOptions()

    def run(self) -> None:
        from .files import FILES, edit_to_folder

        report = edit_to_folder(**vars(self.folder), **vars(self.object), **vars(self.edit))
        output = self.folder.output
        for name, figures in report["figures"].items():
            print(f"{output / FILES[name]}\t" + "\t".join(f"{key} {value:.3f}" for key, value in figures.items()))
        print(output / FILES["turntable"])
