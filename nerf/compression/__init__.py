"""Compression into small files, by two methods: the model that is chosen decides which.

``indices`` is RECOMBINER (arXiv 2309.17182), compression by implicit neural representations, for pictures, sounds,
videos and volumes. ``grids`` (:mod:`.grids`) codes pictures as quantised latent grids. Both write the same container.

The way from data to a file and back, a module for each step:

- :mod:`.files`: ``compress`` and ``decompress``, the public functions; :mod:`.overview`: ``describe``;
- :mod:`.encoder`: values to indices, on the data as :mod:`.patches` and in the order of :mod:`.block_order`;
- :mod:`.payload`: indices to the bytes of an item, and back;
- :mod:`.decoder`: indices to latent numbers to values, a window (:mod:`.windows`) at a time;
- :mod:`.reconstruction`: a whole file to samples.

:mod:`.description` has the sizes of a model and the tiling of data, :mod:`.field_files` writes fields instead of data,
:mod:`.train` trains a codec, and :mod:`.models` finds models of both methods. The parts are in ``model`` (network and
priors), ``coding`` (relative entropy coding), ``container`` (bytes), ``modalities`` (pictures, sounds, videos, volumes)
and ``learning`` (training).

Public names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import compress, decompress
    from .overview import describe

_HOMES = {"compress": "files", "decompress": "files", "describe": "overview"}

__all__ = ["compress", "decompress", "describe"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, ``--help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
