"""Public API of mapfield: one function and one pipeline class per capability, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nerf.compression import compress, decompress
    from nerf.distillation import distill

    from .audio_evaluation import evaluate_audio
    from .audio_fitting import fit_mapper
    from .audio_pipeline import VisionToAudioPipeline
    from .editing import Editor, edit_nerf
    from .editing_scene import edit_scene
    from .evaluation import evaluate
    from .neti_pipeline import NeTIPipeline
    from .personalization import personalize
    from .sonification import vision_to_audio

_HOMES = {
    "Editor": "pipelines.editing",
    "NeTIPipeline": "pipelines.neti_pipeline",
    "VisionToAudioPipeline": "pipelines.audio_pipeline",
    "compress": "nerf.compression",
    "decompress": "nerf.compression",
    "distill": "nerf.distillation",
    "edit_nerf": "pipelines.editing",
    "edit_scene": "pipelines.editing_scene",
    "evaluate": "pipelines.evaluation",
    "evaluate_audio": "pipelines.audio_evaluation",
    "fit_mapper": "pipelines.audio_fitting",
    "personalize": "pipelines.personalization",
    "vision_to_audio": "pipelines.sonification",
}

__all__ = [
    "Editor",
    "NeTIPipeline",
    "VisionToAudioPipeline",
    "compress",
    "decompress",
    "distill",
    "edit_nerf",
    "edit_scene",
    "evaluate",
    "evaluate_audio",
    "fit_mapper",
    "personalize",
    "vision_to_audio",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, ``--help`` must not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
