"""The command ``mapfield``: what `pipelines.cli` does, and under ``mapfield nerf`` what `nerf.cli` does.

One parser holds both, so that help, suggestions and shell completion know every command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from mappers.command_line import run_command
from nerf import cli as fields

from . import cli as tasks


@dataclass(frozen=True, kw_only=True)
class Nerf:
    """Radiance fields, fields of pictures and videos, and compressed files."""

    command: Annotated[fields.Command, tyro.conf.arg(name="")]

    def run(self) -> None:
        self.command.run()


Command = tasks.Command | Annotated[Nerf, tyro.conf.subcommand("nerf")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(Command, words, prog="mapfield", default=defaults)


def defaults(words: list[str]) -> Any | None:
    """As the two command lines have them."""
    if words[:1] != ["nerf"]:
        return tasks.defaults(words)
    inner = fields.defaults(words[1:])
    return None if inner is None else Nerf(command=inner)
