"""The command line of a benchmark: tyro reads the typed function ``main`` of a script, errors become one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro


def run(main: Callable[..., Any], words: Sequence[str] | None = None) -> int:
    """Call a script's ``main`` with what a command line says.

    Args:
        main: a function with type annotations and a docstring; both make the help.
        words: the command line without the program's name; that of this process when not given.

    Returns:
        The exit code: 0 done, 1 failed while running, 2 bad input, 130 interrupted, or what ``main`` returned.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    spec = getattr(sys.modules[main.__module__], "__spec__", None)
    prog = f"python -m {spec.name if spec else main.__module__}"
    try:
        return tyro.cli(main, args=words, prog=prog) or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
