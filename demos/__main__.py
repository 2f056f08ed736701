"""``python -m demos [NAME] [--output DIR]``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

Name = Literal["all", "personalize", "explore", "sound", "fields", "editing", "compress", "example"]


def main(
    name: Annotated[Name, tyro.conf.Positional] = "all",
    *,
    output: Path | None = None,
    models: tuple[str, ...] = ("nano",),
    sounds: tuple[str, ...] = ("nano",),
    categories: tuple[str, ...] = (),
) -> int:
    """Open the app on the embedded models, or draw the example without it.

    Args:
        name: which tab, or all; "example" shows the model four pictures of an object and writes a grid of that object
            in new places.
        output: folder for what is made, runs/app or, for the example, runs/demo; the example replaces what an earlier
            one left there.
        models: text-to-image models that visitors may choose of: nano, folders or hub ids.
        sounds: generators of sounds that visitors may choose of: nano, or folders and hub ids that hold a picture tower
            and a mapper too.
        categories: models of objects to edit that visitors may choose of: nano-chairs, nano-cars, or folders; those
            that are part of the installation when none is given.
    """
    if name == "example":
        from . import example

        example.run(output or Path("runs/demo"))
        return 0
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from .app import TABS, launch
    from .tabs.editing_models import CategoryError

    names = list(TABS) if name == "all" else [name]
    try:
        launch(names, output or Path("runs/app"), models=models, sounds=sounds, categories=categories)
    except CategoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
