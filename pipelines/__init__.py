"""Public API of mapfield: one function and one pipeline class per capability, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio.evaluation import evaluate_audio
    from .audio.generation import vision_to_audio
    from .audio.pipeline import VisionToAudioPipeline
    from .audio.training import fit_mapper
    from .compression import compress, decompress
    from .distillation import distill
    from .editing.editor import Editor, edit_nerf
    from .editing.scene import edit_scene
    from .personalization.evaluation import evaluate
    from .personalization.pipeline import NeTIPipeline
    from .personalization.training import personalize

_HOMES = {
    "Editor": "pipelines.editing.editor",
    "NeTIPipeline": "pipelines.personalization.pipeline",
    "VisionToAudioPipeline": "pipelines.audio.pipeline",
    "compress": "pipelines.compression",
    "decompress": "pipelines.compression",
    "distill": "pipelines.distillation",
    "edit_nerf": "pipelines.editing.editor",
    "edit_scene": "pipelines.editing.scene",
    "evaluate": "pipelines.personalization.evaluation",
    "evaluate_audio": "pipelines.audio.evaluation",
    "fit_mapper": "pipelines.audio.training",
    "personalize": "pipelines.personalization.training",
    "vision_to_audio": "pipelines.audio.generation",
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
