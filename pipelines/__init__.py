"""Public API of mapfield: one function and one pipeline class per capability, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nerf.compression import compress, decompress
    from nerf.distillation import distill

    from .neti_pipeline import NeTIPipeline
    from .personalization import personalize

_HOMES = {
    "NeTIPipeline": "pipelines.neti_pipeline",
    "compress": "nerf.compression",
    "decompress": "nerf.compression",
    "distill": "nerf.distillation",
    "personalize": "pipelines.personalization",
}

__all__ = ["NeTIPipeline", "compress", "decompress", "distill", "personalize"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, ``--help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
