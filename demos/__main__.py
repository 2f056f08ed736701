"""``python -m demos [NAME] [--output DIR]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from . import personalize


def main(
    name: Annotated[Literal["personalize"], tyro.conf.Positional] = "personalize",
    *,
    output: Path = Path("runs/demo"),
) -> None:
    """Run a demo on the embedded models.

    Args:
        name: which demo.
        output: folder for what it makes; what an earlier demo left there is replaced.
    """
    personalize.run(output)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
