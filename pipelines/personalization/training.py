"""Learn a new word from a few pictures: NeTI (arXiv 2305.15391) with a frozen text-to-image model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from diffusers import DiffusionPipeline
from torch import nn

from mappers.devices import default_device
from mappers.files import replacing
from mappers.neti import NeTIMapper, TextualInversionMapper
from mappers.options import RunLength, declared_by
from mappers.training.run_folder import run_folder
from mappers.training.run_report import write_run_report
from mappers.training.trainer import FitReport, fit

from ..images import Images
from ..plugging.transformer_training import learn
from .attention import context_attention
from .concepts import Concept
from .domain_check import is_nano, warn_if_out_of_domain
from .loading import native_size
from .options import CONCEPT, PersonalizeOptions
from .pipeline import NeTIPipeline
from .settings import PersonalizeConfig
from .subjects import Source, common_size, folder_names, read_sources
from .task import SAMPLE_PROMPTS, TEMPLATES, NeTITask, sample_grid


@declared_by(PersonalizeOptions, RunLength)
def personalize(
    images: Images | Mapping[str, Images],
    token: str | None = None,
    *,
    model: str | Path | DiffusionPipeline = "nano",
    model_config: str | Path | None = None,
    category: str | Mapping[str, str] | None = None,
    masks: Images | Mapping[str, Images] | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    config: PersonalizeConfig | None = None,
    device: str | None = None,
) -> NeTIPipeline:
    """Teach a frozen text-to-image model a new word, or several in one run.

    ``masks`` may also be given like ``images``. Outside of them, a picture weighs ``config.outside_weight``. For
    several words, ``images``, ``category`` and ``masks`` are mappings from each word; `concept_files` names the files.

    Args:
        images: a folder, or a sequence of files, PIL pictures or arrays; three to six suffice. Of several words a
            mapping from each to its own: ``{"<my-cat>": "cat", "<my-dog>": "dog"}``.
        token: the new word, such as "<my-cat>"; prompts use it like any other. None when ``images`` names the words.
        model: also a text-to-image pipeline of diffusers with a transformer: Stable Diffusion 3, FLUX.1, Z-Image or
            PixArt. It learns one word where it is, and is returned with the word plugged in.
        config: all further settings.
        device: where to train; None takes the accelerator when there is one.

    Returns:
        A pipeline that knows the words: ``pipeline("a photo of a <my-cat> on the beach").images``.

    Raises:
        FileNotFoundError, ValueError: pictures, token, category or model cannot be used; the message says why.
        OSError: ``output_dir`` is not writable.
        TrainingError: training cannot go on; checkpoints in ``output_dir`` are kept.
    """
    config = config or PersonalizeConfig()
    train = config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    config = dataclasses.replace(config, train=train)
    sources = read_sources(images, token, category, masks)
    tokens = [source.token for source in sources]
    output = run_folder(output_dir, resume=resume)
    files = {} if output is None else dict(zip(tokens, concept_files(output, tokens), strict=True))
    if isinstance(model, DiffusionPipeline):
        return _learn_on(model, sources, config, files, resume)
    where = device or ("cpu" if config.train.cpu else default_device())
    pipeline = NeTIPipeline.from_model(model, device=where, config=model_config)
    task = _task(pipeline, sources, config)
    with context_attention(pipeline.unet):
        report = fit(task, config.train, output_dir=output, resume=resume, inputs=_inputs(pipeline, sources, config))
    _load_words(task, sources, {"seed": seed, "steps": report.steps})
    if files and PartialState().is_main_process:
        _write_results(pipeline, files, report, config)
    return pipeline


def _learn_on(
    pipe: DiffusionPipeline,
    sources: Sequence[Source],
    config: PersonalizeConfig,
    files: Mapping[str, Path],
    resume: bool | Literal["auto"],
) -> Any:
    """Teach a pipeline of the user's a word.

    Raises:
        ValueError: there are several words.
    """
    if len(sources) > 1:
        raise ValueError(f"{type(pipe).__name__} learns one word at a time; call personalize once for each")
    source = sources[0]
    learn(pipe, source, TEMPLATES[config.learns], config, file=files.get(source.token), resume=resume)
    return pipe


def _inputs(pipeline: NeTIPipeline, sources: Sequence[Source], config: PersonalizeConfig) -> dict[str, Any]:
    """What a run is made from, which a run that resumes must be given again."""
    scheduler = pipeline.scheduler
    words = {
        source.token: {"category": source.category, "pictures": source.pictures, "masks": source.masks}
        for source in sources
    }
    return {
        "model": {"vae": pipeline.vae, "unet": pipeline.unet, "text_encoders": list(pipeline.text.encoders)},
        "schedule": {"alphas": scheduler.alphas_cumprod, "predicts": scheduler.config.prediction_type},
        "words": list(words), "word": words, "settings": config,
    }  # fmt: skip


def _task(pipeline: NeTIPipeline, sources: Sequence[Source], config: PersonalizeConfig) -> NeTITask:
    """What is trained: a new mapper for each word, its pictures, and the pictures that validate it.

    Raises:
        ValueError: a token is a word that the model knows, or a word has too few pictures.
    """
    parts = [source.split(config.held_out) for source in sources]
    for source in sources:
        pipeline.text.check_token(source.token)
    size = training_size(pipeline, sources, config)
    mappers = [_build_mapper(pipeline, source.category, config) for source in sources]
    subjects = [first.subject(mapper, size) for (first, _), mapper in zip(parts, mappers, strict=True)]
    held_out = None
    if config.held_out:
        held_out = [last.subject(mapper, size) for (_, last), mapper in zip(parts, mappers, strict=True)]
    if is_nano(pipeline.model_id):
        for subject in subjects:
            warn_if_out_of_domain(pipeline.vae, subject.pictures)
    return NeTITask(pipeline, subjects, config, held_out)


def training_size(pipeline: NeTIPipeline, sources: Sequence[Source], config: PersonalizeConfig) -> tuple[int, int]:
    """Width and height in pixels of the training pictures.

    Raises:
        ValueError: the autoencoder cannot divide them.
    """
    factor = pipeline.vae_scale_factor
    for name, side in (("resolution", config.resolution), ("early_resolution", config.early_resolution)):
        if side is not None and side % factor:
            below = side // factor * factor
            raise ValueError(f"{name} must be a multiple of {factor}, got {side}; take {below} or {below + factor}")
    side = config.resolution or min(native_size(pipeline.unet, factor))
    return (side, side) if config.aspect == "square" else common_size(sources, side, factor)


def _load_words(task: NeTITask, sources: Sequence[Source], origin: Mapping[str, Any]) -> None:
    """Make the trained words usable in prompts of the task's pipeline."""
    pipeline = task.pipeline
    for source, subject in zip(sources, task.subjects, strict=True):
        token, category, mapper = source.token, source.category, subject.mapper
        pipeline.load_concept(Concept(token, category, mapper, pipeline.base, pipeline.model_id, dict(origin)))


def concept_files(output_dir: Path, tokens: Sequence[str]) -> list[Path]:
    """Where `personalize` writes words: into ``output_dir``, or of several each into a folder there named after it.

    Raises:
        ValueError: two of several words would share a folder.
    """
    folders = [output_dir] if len(tokens) == 1 else [output_dir / name for name in folder_names(tokens)]
    return [folder / CONCEPT for folder in folders]


def _build_mapper(pipeline: NeTIPipeline, category: str, config: PersonalizeConfig) -> nn.Module:
    parts = pipeline.text.category_embedding(category)
    start, widths, norms = torch.cat(parts), [len(part) for part in parts], [float(part.norm()) for part in parts]
    layers = max(pipeline.blocks) + 1 if config.layers == "block" else pipeline.layers
    sizes: dict[str, Any] = {"layers": layers, "width": widths, "norm": norms}
    if len(parts) == 1:
        sizes |= {"width": widths[0], "norm": norms[0]}
    if config.method != "neti":
        mapper = TextualInversionMapper(**sizes, per_layer=config.method == "xti")
        mapper.start_at(start)
        return mapper
    mapper = NeTIMapper(
        **sizes,
        bypass=config.bypass,
        positional_encoding=config.positional_encoding,
        dropout=config.nested_dropout,
        seed=config.train.seed,
    )
    if config.init == "category":
        mapper.start_at(start)
    return mapper


def _write_results(
    pipeline: NeTIPipeline, files: Mapping[str, Path], report: FitReport, config: PersonalizeConfig
) -> None:
    """The words' files, then ``samples.png``, ``loss.png`` and ``report.json`` next to each."""
    # The concepts first: whatever fails below, what was learned is on the disk.
    for token, file in files.items():
        pipeline.save_concept(token, file)
    for token, file in files.items():
        samples = sample_grid(pipeline, token, config.train.seed, columns=2, learns=config.learns)
        with replacing(file.parent / "samples.png") as temporary:
            samples.save(temporary)
        contents = {
            "token": token,
            "model": pipeline.model_id,
            "samples": {
                "prompts": [prompt.format(token) for prompt in SAMPLE_PROMPTS[config.learns]],
                "seed": config.train.seed,
            },
        }
        write_run_report(file.parent, report, contents, settings=config, title=f"Learning {token}", loss_scale="linear")
