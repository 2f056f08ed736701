"""Train a mapper from pictures to sounds on your own pairs: V2A-Mapper (arXiv 2308.09300, section 3)."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState

from mappers.devices import default_device
from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.embedding_cache import EmbeddingCache, space_id
from mappers.files import replacing, replacing_folder
from mappers.hub import resolve
from mappers.options import RunLength, declared_by
from mappers.pairs import Pairs, PairTask
from mappers.training.run_folder import run_folder
from mappers.training.run_report import write_run_report
from mappers.training.trainer import FitReport, fit
from mappers.v2a import EmbeddingMapper, LinearMapper, RegressionMapper

from .clap import Clap
from .domain_gap import Domain, GapRow, gap_report, gap_table
from .encoders import NANO, NANO_CLAP, load_clip
from .options import FitMapperOptions
from .pairs import EmbeddedItems, EmbeddedPairs, embed_picture_files, embed_sound_files, enough_pairs, read_pairs
from .settings import FitMapperConfig

logger = logging.getLogger(__name__)

FEW_PAIRS = 20
"""With fewer training pairs a warning says that the mapper is likely to memorize them."""


@declared_by(FitMapperOptions, RunLength)
def fit_mapper(
    pairs: str | Path,
    output_dir: str | Path,
    *,
    clip: str | Path = NANO,
    clap: str | Path = NANO_CLAP,
    cache: str | Path | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    config: FitMapperConfig | None = None,
    device: str | None = None,
) -> EmbeddingMapper:
    """Train a mapper on pairs of pictures (or videos) and sounds.

    Args:
        config: all other settings.
        device: where to compute embeddings; None takes a GPU when there is one.

    Returns:
        The mapper; pass ``mapper=output_dir`` to `vision_to_audio` to use it.

    Raises:
        FileNotFoundError, ValueError: pairs or a model cannot be used; the message says why.
        OSError: the output cannot be written.
        TrainingError: training cannot continue; checkpoints are kept.
    """
    config = config or FitMapperConfig()
    training = config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    config = dataclasses.replace(config, train=training)
    output = run_folder(output_dir, resume=resume, besides=["cache"])
    assert output is not None
    embedded = _embedded_pairs(Path(pairs).expanduser(), clip, clap, Path(cache or output / "cache"), config, device)
    sides = embedded.swapped() if config.reverse else embedded
    train, held_out = _training_pairs(sides), _held_out(sides)
    together = train.condition[train.index[:, 0]], train.target[train.index[:, 1]]
    mapper = _build(sides, config, seed)
    if isinstance(mapper, LinearMapper):
        mapper.fit(*together)
        report = FitReport()
    else:
        task = PairTask(mapper, train, _pairs(*held_out), batch_size=config.train.batch_size)
        inputs = {"pairs": sides.content, "settings": config}
        report = fit(task, config.train, output_dir=output, resume=resume, inputs=inputs)
    mapper.eval()
    if PartialState().is_main_process:
        with replacing_folder(output / "mapper") as temporary:  # first, so that nothing that fails below loses it
            mapper.save_pretrained(temporary)
            Domain.of(train.condition).save(temporary)
        embedded.save(output / "embeddings.safetensors")
        _write_report(output, sides, report, config, gap_report(*held_out, mapper, together))
    return mapper


def _training_pairs(sides: EmbeddedPairs) -> Pairs:
    train = _pairs(sides.pictures.part(held_out=False), sides.sounds.part(held_out=False))
    if len(train.index) < FEW_PAIRS:
        logger.warning("only %d training pairs: the mapper will memorize them and generalize badly", len(train.index))
    return train


def _pairs(pictures: EmbeddedItems, sounds: EmbeddedItems) -> Pairs:
    return Pairs.by_name(pictures.rows, pictures.names, sounds.rows, sounds.names)


def _embedded_pairs(
    pairs: Path, clip: str | Path, clap: str | Path, cache: Path, config: FitMapperConfig, device: str | None
) -> EmbeddedPairs:
    if pairs.suffix == ".safetensors" and pairs.is_file():
        return EmbeddedPairs.load(pairs)
    files = read_pairs(pairs)
    on = device or default_device()
    image_encoder, feature_extractor = load_clip(clip)
    judge = Clap.from_folder(resolve(clap, "CLAP"))
    source_space = space_id(image_encoder)
    # A video's embedding depends on how many of its frames are read.
    picture_cache = EmbeddingCache(cache, f"{source_space}-{config.frames_per_second:g}")
    pictures = embed_picture_files(
        files.pictures, image_encoder.to(on), feature_extractor, picture_cache,
        frames_per_second=config.frames_per_second,
    )  # fmt: skip
    judge.model.to(on)
    sounds = embed_sound_files(files.sounds, judge, EmbeddingCache(cache, judge.space_id))
    return EmbeddedPairs(pictures, sounds, source_space, judge.space_id)


def _held_out(sides: EmbeddedPairs) -> tuple[EmbeddedItems, EmbeddedItems]:
    """Held-out pictures and sounds; all of them where fewer than two pairs are held out.

    Raises:
        ValueError: there are not two pairs at all.
    """
    pictures, sounds = sides.pictures.part(held_out=True), sides.sounds.part(held_out=True)
    if enough_pairs(pictures.names, sounds.names):
        return pictures, sounds
    if not enough_pairs(sides.pictures.names, sides.sounds.names):
        raise ValueError("fewer than two pairs can be used, and figures need two; add pairs of pictures and sounds")
    logger.warning("fewer than two pairs are held out: figures are of all pairs, which the mapper was trained on")
    return sides.pictures, sides.sounds


def _build(sides: EmbeddedPairs, config: FitMapperConfig, seed: int) -> EmbeddingMapper:
    """A mapper with initial weights of ``seed``; the global generator stays as it is."""
    sizes = {"source": sides.pictures.rows.shape[1], "target": sides.sounds.rows.shape[1]}
    spaces = {"source_space": sides.source_space, "target_space": sides.target_space}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if config.method == "linear":
            return LinearMapper(**sizes, **spaces)
        if config.method == "regression":
            return RegressionMapper(**sizes, hidden=config.hidden, **spaces)
        return DiffusionPriorMapper(
            **sizes, depth=config.depth, heads=config.heads, head_width=config.head_width,
            null_tokens=config.null_tokens, drop=config.drop, **spaces,
        )  # fmt: skip


def _write_report(
    output: Path, sides: EmbeddedPairs, report: FitReport, config: FitMapperConfig, gap: list[GapRow]
) -> None:
    contents = {
        "pictures": len(sides.pictures.items),
        "sounds": len(sides.sounds.items),
        "held_out": [sum(item.held_out for item in side.items) for side in (sides.pictures, sides.sounds)],
        "gap": [dataclasses.asdict(row) for row in gap],
    }
    write_run_report(output, report, contents, settings=config)
    with replacing(output / "gap.md") as temporary:
        temporary.write_text(gap_table(gap) + "\n", encoding="utf-8")
