"""``python -m demos [TAB]`` is ``mapfield app [TAB]``; ``python -m demos example`` is ``mapfield demo``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from .cli import App, Demo


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    if [*words[:1]] == ["example"]:
        command = tyro.cli(Demo, prog="python -m demos example", args=words[1:])
    else:
        command = tyro.cli(App, prog="python -m demos", args=words)
    try:
        command.run()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
