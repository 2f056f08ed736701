"""What the command lines share: tyro reads typed dataclasses with a ``run`` method, errors become one line.

Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tyro


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How long a training goes on, and from where."""

    steps: int | None = None
    """Optimizer steps; the settings' own number when not given."""
    max_minutes: float | None = None
    """Stop after this many minutes of training, keeping what was learned."""
    seed: int = 0
    """Seed of every draw."""
    resume: bool = False
    """Go on from the checkpoints in the output folder."""


@dataclass(frozen=True, kw_only=True)
class Training(RunLength):
    """Options of every command that trains; a command has them as its field ``training`` without a prefix."""

    config: str | None = None
    """Settings: a shipped name or a YAML file, what fits if not given; the options below change single ones."""
    debug: bool = False
    """Show the traceback of an error."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the functions that train take under the same names."""
        names = ("steps", "max_minutes", "seed", "resume")
        return {name: getattr(self, name) for name in names}


def run_command(commands: Any, words: Sequence[str], *, prog: str, default: Callable[[list[str]], Any | None]) -> int:
    """Parse ``words`` as one of ``commands`` and run it.

    Args:
        commands: a union of dataclasses annotated as tyro's subcommands.
        words: the command line without the program's name.
        prog: the program's name, for help.
        default: the words to the command's default values, or None where its class has them all.

    Returns:
        The exit code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = list(words)
    debug = "--debug" in words
    try:
        values = default(words)
        command = tyro.cli(commands, args=words, prog=prog, default=tyro.MISSING if values is None else values)
        command.run()
    except KeyboardInterrupt:
        return 130
    except (ValueError, FileNotFoundError) as error:
        return _fail(error, 2, debug)
    except (RuntimeError, OSError) as error:
        return _fail(error, 1, debug)
    return 0


def option(words: Sequence[str], name: str, default: str) -> str:
    """The value that ``words`` give the option ``name``: settings are read from files before tyro parses the rest."""
    for i, word in enumerate(words):
        if word == name and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{name}="):
            return word.split("=", 1)[1]
    return default


def _fail(error: Exception, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {error}", file=sys.stderr)
    return code
