"""The command ``mapfield``: the commands of `pipelines.cli`, and those that need the app or know the installation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from . import environment, installation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if [*words] == ["--version"]:
        print(f"mapfield {version('mapfield')}")
        return 0
    if found := installation.faults():
        for fault in found:
            print(f"error: {fault}", file=sys.stderr)
        if [*words] == ["env"]:
            environment.show()
        return 1
    # Only now: other packages may have taken the place of ours.
    from mappers.command_line import run_command

    from .commands import Command

    return run_command(Command, words, prog="mapfield")
