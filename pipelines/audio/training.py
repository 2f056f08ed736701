"""Train a mapper from pictures to sounds on one's own pairs: V2A-Mapper (arXiv 2308.09300, section 3)."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState
from jaxtyping import Bool
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.embedding_cache import EmbeddingCache, space_id
from mappers.files import replacing, writable_folder
from mappers.hub import resolve
from mappers.pairs import Pairs, PairTask
from mappers.trainer import FitReport, fit
from mappers.v2a import EmbeddingMapper, LinearMapper, RegressionMapper

from .clap import Clap
from .domain_gap import Domain, GapRow, gap_report, gap_table
from .encoders import NANO, NANO_CLAP, load_clip
from .pairs import EmbeddedItems, Item, embed_picture_files, embed_sound_files, read_pairs
from .settings import FitMapperConfig

logger = logging.getLogger(__name__)

FEW_PAIRS = 20
"""Training pairs below which a mapper is likely to know them by heart."""


@dataclass(frozen=True)
class EmbeddedPairs:
    """Embeddings of pictures and sounds, and the spaces that they are in."""

    pictures: EmbeddedItems
    sounds: EmbeddedItems
    source_space: str
    target_space: str

    def save(self, path: Path) -> None:
        """Write them as one safetensors file, which `fit_mapper` takes in place of a folder."""
        names = json.dumps({"pictures": self.pictures.names, "sounds": self.sounds.names})
        with replacing(path) as temporary:
            save_file(
                {
                    "pictures": self.pictures.rows.contiguous(),
                    "sounds": self.sounds.rows.contiguous(),
                    "pictures_held_out": _held_out(self.pictures),
                    "sounds_held_out": _held_out(self.sounds),
                },
                temporary,
                {"source_space": self.source_space, "target_space": self.target_space, "names": names},
            )

    def swapped(self) -> EmbeddedPairs:
        """The same pairs the other way round."""
        return EmbeddedPairs(self.sounds, self.pictures, self.target_space, self.source_space)

    @classmethod
    def load(cls, path: Path) -> EmbeddedPairs:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is damaged or holds something else.
        """
        try:
            with safe_open(path, "pt") as file:
                about, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sides = []
            for side, names in json.loads(about["names"]).items():
                marks = tensors[f"{side}_held_out"].tolist()
                items = [Item(path, name, held_out) for name, held_out in zip(names, marks, strict=True)]
                if len(items) != len(tensors[side]) or not torch.isfinite(tensors[side]).all():
                    raise ValueError(f"{side} of other numbers than its names, or not finite")
                sides.append(EmbeddedItems(items, tensors[side].float()))
            return cls(*sides, about["source_space"], about["target_space"])
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path} does not hold cached embeddings ({error}); give a folder of pairs") from error


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
        pairs: folder of pairs, see `pipelines.audio.pairs.read_pairs`; or an ``embeddings.safetensors`` of an earlier
            run, which needs neither ``clip`` nor ``clap``.
        output_dir: where ``mapper/``, ``embeddings.safetensors``, ``report.json`` and the checkpoints go.
        clip: CLIP folder, or embedded id, whose picture tower sees.
        clap: ClapModel folder, or embedded id, that the generator was trained with.
        cache: folder of embeddings by content, which several runs may share; None takes one in ``output_dir``.
        steps: optimizer steps; None takes the config's.
        max_minutes: stop, keeping what was learned, after this many minutes of training.
        seed: of the start and of every draw.
        resume: go on from the checkpoints in ``output_dir``.
        config: all further settings.
        device: where to embed; None takes a GPU when there is one.

    Returns:
        The mapper, which `vision_to_audio` takes as ``mapper=output_dir``.

    Raises:
        FileNotFoundError, ValueError: pairs or a model cannot be used; the message says why.
        OSError: the output cannot be written.
        TrainingError: training cannot go on; checkpoints are kept.
    """
    config = config or FitMapperConfig()
    config = dataclasses.replace(
        config, train=config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    )
    output = writable_folder(output_dir)
    embedded = _sides(Path(pairs).expanduser(), clip, clap, Path(cache or output / "cache"), config, device)
    sides = embedded.swapped() if config.reverse else embedded
    seen, heard = sides.pictures.part(held_out=False), sides.sounds.part(held_out=False)
    train = Pairs.by_name(seen.rows, seen.names, heard.rows, heard.names)
    if len(train.index) < FEW_PAIRS:
        logger.warning("only %d training pairs: the mapper will know them by heart and little else", len(train.index))
    asked, found = _measured(sides)
    held_out = Pairs.by_name(asked.rows, asked.names, found.rows, found.names)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mapper = _build(sides, config)
    together = train.condition[train.index[:, 0]], train.target[train.index[:, 1]]
    if isinstance(mapper, LinearMapper):
        mapper.fit(*together)
        report = FitReport()
    else:
        task = PairTask(mapper, train, held_out, batch_size=config.train.batch_size)
        report = fit(task, config.train, output_dir=output, resume=resume)
    mapper.eval()
    if PartialState().is_main_process:
        mapper.save_pretrained(output / "mapper")  # first: whatever fails below, what was learned is on the disk
        Domain.of(seen.rows).save(output / "mapper")
        embedded.save(output / "embeddings.safetensors")
        _write_report(output, sides, report, config, gap_report(asked, found, mapper, together))
    return mapper


def _sides(
    pairs: Path, clip: str | Path, clap: str | Path, cache: Path, config: FitMapperConfig, device: str | None
) -> EmbeddedPairs:
    if pairs.suffix == ".safetensors" and pairs.is_file():
        return EmbeddedPairs.load(pairs)
    files = read_pairs(pairs)
    on = device or ("cuda" if torch.cuda.is_available() else "cpu")
    image_encoder, feature_extractor = load_clip(clip)
    hearing = Clap.from_folder(resolve(clap, "CLAP"))
    source_space = space_id(image_encoder)
    # What a video's embedding is depends on how many of its frames are looked at.
    looks = EmbeddingCache(cache, f"{source_space}-{config.frames_per_second:g}")
    pictures = embed_picture_files(
        files.pictures, image_encoder.to(on), feature_extractor, looks, frames_per_second=config.frames_per_second
    )
    hearing.model.to(on)
    sounds = embed_sound_files(files.sounds, hearing, EmbeddingCache(cache, hearing.space_id))
    return EmbeddedPairs(pictures, sounds, source_space, hearing.space_id)


def _measured(sides: EmbeddedPairs) -> tuple[EmbeddedItems, EmbeddedItems]:
    """Held-out pictures and sounds, or where a side has none of the other's names, all of them."""
    asked, found = sides.pictures.part(held_out=True), sides.sounds.part(held_out=True)
    if set(asked.names) & set(found.names):
        return asked, found
    logger.warning("no pair is held out: figures are of what the mapper was trained on")
    return sides.pictures, sides.sounds


def _build(sides: EmbeddedPairs, config: FitMapperConfig) -> EmbeddingMapper:
    sizes = {"source": sides.pictures.rows.shape[1], "target": sides.sounds.rows.shape[1]}
    spaces = {"source_space": sides.source_space, "target_space": sides.target_space}
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
    result = {
        "pictures": len(sides.pictures.items),
        "sounds": len(sides.sounds.items),
        "held_out": [sum(item.held_out for item in side.items) for side in (sides.pictures, sides.sounds)],
        "steps": report.steps,
        "stopped": report.stopped,
        "seconds": round(report.seconds, 2),
        "final_loss": report.losses[-1][1] if report.losses else None,
        "metrics": report.metrics,
        "gap": [dataclasses.asdict(row) for row in gap],
        "settings": dataclasses.asdict(config),
    }
    with replacing(output / "report.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    with replacing(output / "gap.md") as temporary:
        temporary.write_text(gap_table(gap) + "\n", encoding="utf-8")


def _held_out(side: EmbeddedItems) -> Bool[Tensor, " n"]:
    return torch.tensor([item.held_out for item in side.items])
