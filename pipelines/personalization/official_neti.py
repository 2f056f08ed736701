"""Concepts trained with NeTI's official code, read without running anything that is in their files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mappers.neti import ANCHOR_TIMES, NeTIMapper
from mappers.options import declared_by

from .concepts import Concept
from .options import ImportOptions
from .pipeline import NeTIPipeline
from .tokens import category_embedding, check_token

PARTS = {
    "input_layer.": "anchors.",
    "net.1.": "net.0.", "net.2.": "net.1.", "net.4.": "net.3.", "net.5.": "net.4.",
    "output_layer.0.": "output.",
}  # fmt: skip
"""Official names of weights and ours. ``net.0`` is the input layer once more."""


class _PickledStub:
    """Replaces the one class that official files pickle: holds attributes and does nothing."""


ALLOWED = [
    (_PickledStub, f"models.positional_encoding.{name}") for name in ("NeTIPositionalEncoding", "BasicEncoder")
]  # fmt: skip


@declared_by(ImportOptions)
def import_neti(mapper: str | Path, embeds: str | Path, *, model: str | Path | None = None) -> Concept:
    """Turn the two files of an official NeTI run into a concept.

    Returns:
        The concept; `NeTIPipeline.load_concept` takes it, `pipelines.personalization.concepts.save_concept` writes it.

    Raises:
        FileNotFoundError: a file or the base model is missing.
        ValueError: a file is damaged, holds anything but an official concept, or belongs to another base model.
    """
    mapper, embeds = Path(mapper), Path(embeds)
    stored = _load(mapper)
    try:
        settings, weights, encoder = stored["cfg"]["model"], dict(stored["state_dict"]), stored["encoder"]
        named, category = settings["pretrained_model_name_or_path"], stored["cfg"]["data"]["super_category_token"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{mapper} is not an official NeTI mapper ({error} is missing in it)") from error
    token, vector = _token(embeds)

    pipeline = NeTIPipeline.from_model(model or named, device="cpu")
    check_token(token, pipeline.tokenizer)
    start = category_embedding(pipeline.tokenizer, pipeline.text_encoder, category)
    if vector.shape != start.shape or not torch.allclose(vector.float(), start, rtol=0.02, atol=1e-3):
        raise ValueError(
            f"{embeds} was made with another base model than {model or named}: its vector is not that of the word "
            f"{category!r} there; give the right one by model="
        )
    if settings.get("target_norm") is None:
        raise ValueError(f"{mapper} was trained without normalizing the mapper's output, which is not supported")
    read = NeTIMapper(
        layers=pipeline.layers,
        width=len(start),
        norm=float(settings["target_norm"]),
        bypass=settings["output_bypass"],
        positional_encoding=settings["use_positional_encoding"],
        dropout=settings["nested_dropout_prob"] if settings["use_nested_dropout"] else 0.0,
    )
    try:
        read.load_state_dict(_renamed(weights, encoder, settings["use_positional_encoding"]))
    except (RuntimeError, AttributeError) as error:
        raise ValueError(
            f"{mapper} does not fit a mapper of {pipeline.layers} layers, {len(start)} wide, with "
            f"{len(ANCHOR_TIMES)} anchors in time: {' '.join(str(error).split())}"
        ) from error
    if not all(bool(value.isfinite().all()) for value in read.state_dict().values()):
        raise ValueError(f"{mapper} holds numbers that are not finite; take another of the run's files")
    origin = {"imported_from": [mapper.name, embeds.name]}
    return Concept(token, category, read.eval().requires_grad_(False), pipeline.base, pipeline.model_id, origin)


def _renamed(weights: Mapping[str, Tensor], encoder: Any, positional: bool) -> dict[str, Tensor]:
    """The official weights under our names; the encoding's frequencies live in the pickled encoder alone."""
    ours = {
        name.replace(official, part): value
        for name, value in weights.items()
        for official, part in PARTS.items()
        if name.startswith(official)
    }
    if positional:
        for kind in ("weight", "bias"):
            if not torch.equal(weights[f"input_layer.{kind}"], weights[f"net.0.{kind}"]):
                raise RuntimeError(f"input_layer.{kind} and net.0.{kind}, one layer under two names, differ")
        # A Parameter moved to a GPU is a plain tensor and so an attribute; else it is a registered parameter.
        frequencies = vars(encoder).get("w")
        ours["encoding.frequencies"] = encoder._parameters["w"] if frequencies is None else frequencies
    return {name: value.detach() for name, value in ours.items()}


def _token(embeds: Path) -> tuple[str, Tensor]:
    """Token and vector of ``learned_embeds``."""
    stored = _load(embeds)
    pairs = list(stored.items()) if isinstance(stored, dict) else []
    if len(pairs) != 1 or not isinstance(pairs[0][0], str) or not isinstance(pairs[0][1], Tensor):
        raise ValueError(f"{embeds} is not an official learned_embeds file: it should hold one token and its vector")
    return pairs[0][0], pairs[0][1].detach()


def _load(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with torch.serialization.safe_globals(ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"refusing {path}: it is no file of an official NeTI run, is damaged, or holds more than tensors and "
            "settings"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} is truncated or not a PyTorch file; copy it again") from error
