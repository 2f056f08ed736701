"""Public API of mapfield: functions, pipeline classes and settings of every capability, imported when first used."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mappers  # noqa: F401  # before torch: it limits how long idle threads spin

if TYPE_CHECKING:
    from mappers.hub import EMBEDDED, embedded_models
    from mappers.neti import Envelope
    from mappers.tables import markdown_table
    from mappers.yaml_settings import load_settings

    from .audio.evaluation import evaluate_audio
    from .audio.files import write_sound, write_spectrogram, write_video
    from .audio.generation import Sonifier, vision_to_audio
    from .audio.pipeline import VisionToAudioPipeline
    from .audio.settings import FitMapperConfig, SoundConfig
    from .audio.training import fit_mapper
    from .compression import compress, decompress
    from .distillation import distill
    from .editing.editor import Editor, edit_nerf
    from .editing.files import turntable_frames
    from .editing.scene import edit_scene
    from .editing.session import load_session
    from .images import load_images
    from .personalization.concepts import Concept, load_concept, save_concept
    from .personalization.evaluation import Judges, evaluate
    from .personalization.pipeline import NeTIPipeline
    from .personalization.settings import EvaluateConfig, PersonalizeConfig
    from .personalization.training import personalize
    from .sheets import labelled_grid

_HOMES = {
    "Concept": "pipelines.personalization.concepts",
    "EMBEDDED": "mappers.hub",
    "Editor": "pipelines.editing.editor",
    "Envelope": "mappers.neti",
    "EvaluateConfig": "pipelines.personalization.settings",
    "FitMapperConfig": "pipelines.audio.settings",
    "Judges": "pipelines.personalization.evaluation",
    "NeTIPipeline": "pipelines.personalization.pipeline",
    "PersonalizeConfig": "pipelines.personalization.settings",
    "Sonifier": "pipelines.audio.generation",
    "SoundConfig": "pipelines.audio.settings",
    "VisionToAudioPipeline": "pipelines.audio.pipeline",
    "compress": "pipelines.compression",
    "decompress": "pipelines.compression",
    "distill": "pipelines.distillation",
    "edit_nerf": "pipelines.editing.editor",
    "edit_scene": "pipelines.editing.scene",
    "embedded_models": "mappers.hub",
    "evaluate": "pipelines.personalization.evaluation",
    "evaluate_audio": "pipelines.audio.evaluation",
    "fit_mapper": "pipelines.audio.training",
    "labelled_grid": "pipelines.sheets",
    "load_concept": "pipelines.personalization.concepts",
    "load_images": "pipelines.images",
    "load_session": "pipelines.editing.session",
    "load_settings": "mappers.yaml_settings",
    "markdown_table": "mappers.tables",
    "personalize": "pipelines.personalization.training",
    "save_concept": "pipelines.personalization.concepts",
    "turntable_frames": "pipelines.editing.files",
    "vision_to_audio": "pipelines.audio.generation",
    "write_sound": "pipelines.audio.files",
    "write_spectrogram": "pipelines.audio.files",
    "write_video": "pipelines.audio.files",
}

__all__ = [
    "EMBEDDED",
    "Concept",
    "Editor",
    "Envelope",
    "EvaluateConfig",
    "FitMapperConfig",
    "Judges",
    "NeTIPipeline",
    "PersonalizeConfig",
    "Sonifier",
    "SoundConfig",
    "VisionToAudioPipeline",
    "compress",
    "decompress",
    "distill",
    "edit_nerf",
    "edit_scene",
    "embedded_models",
    "evaluate",
    "evaluate_audio",
    "fit_mapper",
    "labelled_grid",
    "load_concept",
    "load_images",
    "load_session",
    "load_settings",
    "markdown_table",
    "personalize",
    "save_concept",
    "turntable_frames",
    "vision_to_audio",
    "write_sound",
    "write_spectrogram",
    "write_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: importing torch takes seconds, and ``--help`` must be instant."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        if foreign := _foreign():
            raise ImportError(f"{foreign}; rename it, or use the command mapfield, which is safe from it") from error
        raise


def _foreign() -> str:
    """What was imported instead of a package of mapfield, in words; "" if nothing was."""
    for name in ("mappers", "nerf"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is not None and Path(path).resolve().parents[1] != Path(__file__).resolve().parents[1]:
            return f"Python imported {path} instead of mapfield's package {name}"
    return ""
