"""Compression by implicit neural representations: RECOMBINER (arXiv 2309.17182) as a codec with files.

Names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import compress, decompress, describe

_HOMES = {"compress": "files", "decompress": "files", "describe": "files"}

__all__ = ["compress", "decompress", "describe"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, ``--help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
