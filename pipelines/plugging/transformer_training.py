"""Learn a new word on a diffusion transformer, through the socket by which it is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState

from mappers.neti import SiteMapper
from mappers.training.run_report import write_run_report
from mappers.training.trainer import FitReport, fit

from ..personalization.concepts import Concept, save_concept
from ..personalization.settings import PersonalizeConfig
from ..personalization.subjects import Source
from .bypass_socket import BypassSocket
from .objectives import OBJECTIVES, Conditions
from .plugging import plug
from .transformer_task import Learned, TransformerTask


def learn(
    pipe: Any,
    source: Source,
    sentences: Sequence[str],
    config: PersonalizeConfig,
    *,
    file: Path | None,
    resume: bool | Literal["auto"] = False,
) -> Concept:
    """Teach ``pipe`` a word, and plug it in.

    Args:
        pipe: a text-to-image pipeline of a class in `OBJECTIVES`; its weights stay as they are.
        source: the word and its pictures.
        sentences: what it is learned in, with {} for the word.
        config: how it is learned.
        file: where the word is written, in an existing folder for its report and checkpoints too; None: nowhere.
        resume: go on from the newest checkpoint of that folder.

    Raises:
        ValueError: the pipeline or a setting does not suit; the message says which.
        TrainingError: training cannot go on; checkpoints are kept.
    """
    check_suits(pipe, config)
    size = _size(pipe, config)
    if pipe.device.type == "cpu":
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, cpu=True))
    socket = BypassSocket(pipe)
    mapper = SiteMapper(
        socket.base.layers, socket.base.width, dropout=config.nested_dropout, seed=config.train.seed
    ).to(pipe.transformer.device)  # fmt: skip
    word = Learned(mapper)
    model = str(pipe.config.get("_name_or_path") or type(pipe).__name__)
    concept = Concept(source.token, source.category, word, socket.base, model)
    frozen = [part for part in pipe.components.values() if hasattr(part, "requires_grad_")]
    wanted = [[weight.requires_grad for weight in part.parameters()] for part in frozen]
    for part in frozen:
        part.requires_grad_(False)
    try:
        with plug(pipe, concept):
            conditions = Conditions(pipe, [sentence.format(source.token) for sentence in sentences], size)
            task = TransformerTask(conditions, word, source.subject(mapper, size), config)
            inputs = _inputs(pipe, source, config)
            output = None if file is None else file.parent
            report = fit(task, config.train, output_dir=output, resume=resume, inputs=inputs)
    finally:
        for part, flags in zip(frozen, wanted, strict=True):
            for weight, flag in zip(part.parameters(), flags, strict=True):
                weight.requires_grad_(flag)
    mapper.eval().requires_grad_(False)
    learned = dataclasses.replace(concept, mapper=mapper, settings={"seed": config.train.seed, "steps": report.steps})
    plug(pipe, learned)
    if file is not None and PartialState().is_main_process:
        _write(learned, file, report, config)
    return learned


def check_suits(pipe: Any, config: PersonalizeConfig) -> None:
    """Refuse what cannot be learned on a transformer.

    Raises:
        ValueError: the class of the pipeline is not known, or a setting has no meaning there.
    """
    name = type(pipe).__name__
    if name not in OBJECTIVES:
        raise ValueError(
            f"words cannot be learned with {name} yet; give a pipeline of one of the classes {', '.join(OBJECTIVES)}"
        )
    if any(hasattr(part, "_hf_hook") for part in (pipe.transformer, pipe.vae)):
        raise ValueError(
            f"the weights of this {name} are offloaded between calls, so words cannot be learned; load it without "
            "enable_model_cpu_offload or enable_sequential_cpu_offload, and move it to the device"
        )
    default = PersonalizeConfig()
    for setting in ("method", "attention_weight", "early_steps", "outside_weight", "min_snr", "held_out", "aspect"):
        value = getattr(config, setting)
        if value != getattr(default, setting):
            raise ValueError(f"{setting}={value!r} is for models with a UNet; leave it out for {name}")


def _size(pipe: Any, config: PersonalizeConfig) -> tuple[int, int]:
    """Width and height in pixels of the training pictures.

    Raises:
        ValueError: the transformer cannot divide them into cells.
    """
    cells = getattr(pipe, "default_sample_size", None) or pipe.transformer.config.get("sample_size") or 128
    factor = int(pipe.vae_scale_factor) * 2
    side = config.resolution or int(cells) * int(pipe.vae_scale_factor)
    if side % factor:
        below = side // factor * factor
        raise ValueError(f"resolution must be a multiple of {factor}, got {side}; take {below} or {below + factor}")
    return side, side


def _inputs(pipe: Any, source: Source, config: PersonalizeConfig) -> dict[str, Any]:
    """What a run is made from, which a run that resumes must be given again."""
    word: Mapping[str, Any] = {"category": source.category, "pictures": source.pictures, "masks": source.masks}
    return {
        "model": {"vae": pipe.vae, "transformer": pipe.transformer},
        "word": {source.token: word}, "settings": config,
    }  # fmt: skip


def _write(concept: Concept, file: Path, report: FitReport, config: PersonalizeConfig) -> None:
    save_concept(concept, file)
    contents = {"token": concept.token, "model": concept.model}
    write_run_report(
        file.parent, report, contents, settings=config, title=f"Learning {concept.token}", loss_scale="linear"
    )
