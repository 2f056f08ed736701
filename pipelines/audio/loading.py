"""Loads an audio generator from a folder or id; the folder's ``model_index.json`` says which kind it holds."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from mappers.hub import resolve, why_not_loaded

from .audioldm import AudioLDMBackend
from .backends import AudioBackend
from .clap import Clap
from .pipeline import VisionToAudioPipeline


def load_backend(model: str | Path, *, clap: Clap | None = None, device: str = "cpu") -> AudioBackend:
    """Load the audio generator in ``model``.

    Args:
        model: id of an embedded model, folder or hub id, in the layout of AudioLDM (with or without our own parts),
            AudioLDM 2 or Stable Audio.
        clap: the CLAP whose embeddings Stable Audio, which reads text only, is to be driven by.
        device: where to load it.

    Raises:
        FileNotFoundError: ``model`` names nothing that can be loaded.
        ValueError: it holds a generator of another kind, or needs ``clap`` and has none.
    """
    folder = resolve(model, "vision-to-audio")
    try:
        name = DiffusionPipeline.load_config(folder)["_class_name"]
        if name in ("AudioLDMPipeline", "VisionToAudioPipeline"):
            pipeline = VisionToAudioPipeline.from_pretrained(folder, dtype=torch.float32).to(device)
            pipeline.set_progress_bar_config(disable=None)
            return AudioLDMBackend(pipeline)
        if name == "AudioLDM2Pipeline":
            from .audioldm2 import AudioLDM2Backend

            return AudioLDM2Backend.from_folder(folder, device=device)
        if name == "StableAudioPipeline":
            from .stable_audio import StableAudioBackend

            return StableAudioBackend.from_folder(folder, clap=clap, device=device)
    except ImportError as error:
        raise ValueError(f"the model {str(model)!r} needs a package that is not installed: {error}") from error
    except OSError as error:
        raise FileNotFoundError(
            f"could not load the model {str(model)!r} ({why_not_loaded(error)}); give a folder in the layout of"
            " AudioLDM, AudioLDM 2 or Stable Audio, or use 'nano' to run without downloads"
        ) from error
    raise ValueError(f"{model} holds a {name}; audio generators are AudioLDM, AudioLDM 2 and Stable Audio")
