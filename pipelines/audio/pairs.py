"""Pairs of pictures (or videos) and sounds in a folder, and their embeddings."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mappers.embedding_cache import EmbeddingCache
from mappers.files import files_in, read_text, replacing
from mappers.pictures import PICTURE_ENDINGS, VIDEO_ENDINGS
from mappers.training.run_inputs import fingerprint

from ..images import load_images
from .clap import Clap
from .conditioning import aggregate, embed_pictures
from .files import SOUND_SUFFIXES, is_silent, read_frames, read_sound

logger = logging.getLogger(__name__)

MANIFEST = "pairs.jsonl"


@dataclass(frozen=True)
class Item:
    """A picture, video or sound file of a pair."""

    path: Path
    name: str
    """Files of one name belong together."""
    held_out: bool = False
    """Whether it is left out of training, to measure on."""


@dataclass(frozen=True)
class PairFiles:
    """Pictures and sounds; all of one name belong together."""

    pictures: list[Item]
    sounds: list[Item]

    def part(self, *, held_out: bool) -> PairFiles:
        """The training part or the held-out part."""
        return PairFiles(*([i for i in side if i.held_out == held_out] for side in (self.pictures, self.sounds)))


def read_pairs(folder: str | Path) -> PairFiles:
    """Find the pairs in a folder.

    With a file ``pairs.jsonl``: a line {"concept": ..., "images": [{"file": ..., "split": ...}], "audio": [...]} for
    each group. Without it:

    - files that differ in their ending only belong together (``a.png``, ``a.wav``); every tenth pair is held out, and
      of 10 to 19 pairs the fifth too, because measuring needs two;
    - a video without such a partner is paired with its own sound;
    - all other files of a folder with both sides belong together (``dog/1.png``, ``dog/woof.wav``); every fifth of each
      side is held out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no pairs, or the manifest cannot be read.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    pairs = _listed(folder) if (folder / MANIFEST).is_file() else _found(folder)
    if not pairs.pictures or not pairs.sounds:
        raise ValueError(
            f"there are no pairs in {folder}; put pictures and sounds of the same name, videos with sound, or a folder"
            " for each kind of thing there"
        )
    return pairs


def _listed(folder: Path) -> PairFiles:
    sides: dict[str, list[Item]] = {"images": [], "audio": []}
    for number, line in enumerate(read_text(folder / MANIFEST).splitlines(), 1):
        try:
            row = json.loads(line)
            for side, items in sides.items():
                items += [
                    Item(folder / entry["file"], str(row["concept"]), entry.get("split", "train") != "train")
                    for entry in row[side]
                ]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"line {number} of {folder / MANIFEST} is not a group of pairs ({error}); it needs concept, images and"
                " audio, each of these with file"
            ) from error
    for item in [*sides["images"], *sides["audio"]]:
        if not item.path.is_file():
            logger.warning("left out: %s is listed and does not exist", item.path)
    kept = {side: [item for item in items if item.path.is_file()] for side, items in sides.items()}
    return PairFiles(kept["images"], kept["audio"])


def _found(folder: Path) -> PairFiles:
    files = files_in(folder, recursive=True)
    looks = [path for path in files if path.suffix.lower() in (*PICTURE_ENDINGS, *VIDEO_ENDINGS)]
    sounds = [path for path in files if path.suffix.lower() in SOUND_SUFFIXES]
    heard = {path.with_suffix("") for path in sounds}
    paired = {path.with_suffix("") for path in looks} & heard
    sounds += [path for path in looks if path.suffix.lower() in VIDEO_ENDINGS and path.with_suffix("") not in paired]
    paired |= {path.with_suffix("") for path in sounds if path.suffix.lower() in VIDEO_ENDINGS}
    together = {path.parent for path in looks} & {path.parent for path in sounds}
    order = {stem: number for number, stem in enumerate(sorted(paired))}
    apart = {4, 9} if 10 <= len(order) < 20 else set(range(9, len(order), 10))
    sides: list[list[Item]] = []
    for side in (looks, sounds):
        items, seen = [], dict.fromkeys(together, 0)
        for path in side:
            stem = path.with_suffix("")
            if stem in paired:
                items.append(Item(path, stem.relative_to(folder).as_posix(), order[stem] in apart))
            elif path.parent in together and path.parent != folder:
                seen[path.parent] += 1
                items.append(Item(path, path.parent.relative_to(folder).as_posix(), seen[path.parent] % 5 == 0))
            else:
                logger.warning("left out: %s has no partner of the same name%s", path, _hint(path, files))
        sides.append(items)
    return PairFiles(*sides)


def _hint(path: Path, files: Sequence[Path]) -> str:
    """What to rename, where only capitals keep a file from its partner; empty where nothing does."""
    stem = str(path.with_suffix(""))
    others = (str(other.with_suffix("")) for other in files)
    near = next((other for other in others if other != stem and other.lower() == stem.lower()), None)
    return "" if near is None else f"; capitals count: rename it to {Path(near).name}{path.suffix}"


def enough_pairs(pictures: Sequence[str], sounds: Sequence[str]) -> bool:
    """Whether names of pictures and of sounds make two pairs, of which figures can be measured."""
    return sum(name in set(sounds) for name in pictures) >= 2


@dataclass(frozen=True)
class EmbeddedItems:
    """Embeddings of the usable items of one side."""

    items: list[Item]
    rows: Float[Tensor, "n d"]

    def part(self, *, held_out: bool) -> EmbeddedItems:
        """The training part or the held-out part."""
        chosen = [number for number, item in enumerate(self.items) if item.held_out == held_out]
        return EmbeddedItems([self.items[number] for number in chosen], self.rows[chosen])

    @property
    def names(self) -> list[str]:
        """The name of each row."""
        return [item.name for item in self.items]


@dataclass(frozen=True)
class EmbeddedPairs:
    """Embeddings of pictures and of sounds, with the ids of their spaces (`mappers.embedding_cache.space_id`)."""

    pictures: EmbeddedItems
    sounds: EmbeddedItems
    source_space: str
    target_space: str

    def save(self, path: Path) -> None:
        """Write one safetensors file, which `fit_mapper` accepts instead of a folder of pairs."""
        names = json.dumps({"pictures": self.pictures.names, "sounds": self.sounds.names})
        with replacing(path) as temporary:
            save_file(
                {
                    "pictures": self.pictures.rows.contiguous(),
                    "sounds": self.sounds.rows.contiguous(),
                    "pictures_held_out": _held_out_marks(self.pictures),
                    "sounds_held_out": _held_out_marks(self.sounds),
                },
                temporary,
                {"source_space": self.source_space, "target_space": self.target_space, "names": names},
            )

    @property
    def content(self) -> dict[str, Any]:
        """All that a training depends on, by name: embeddings, which belong together, and which are held out."""
        sides = {
            name: {"embeddings": side.rows, "names": fingerprint(side.names), "held_out": _held_out_marks(side)}
            for name, side in (("pictures", self.pictures), ("sounds", self.sounds))
        }
        return {**sides, "source_space": self.source_space, "target_space": self.target_space}

    def swapped(self) -> EmbeddedPairs:
        """The same pairs with pictures and sounds exchanged."""
        return EmbeddedPairs(self.sounds, self.pictures, self.target_space, self.source_space)

    @classmethod
    def load(cls, path: Path) -> EmbeddedPairs:
        """Read a file that `save` wrote.

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
                    raise ValueError(f"{side}: number of rows and of names differ, or a value is not finite")
                sides.append(EmbeddedItems(items, tensors[side].float()))
            return cls(*sides, about["source_space"], about["target_space"])
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path} does not hold cached embeddings ({error}); give a folder of pairs") from error


def embed_picture_files(
    items: Sequence[Item],
    image_encoder: Any,
    feature_extractor: Any,
    cache: EmbeddingCache,
    *,
    frames_per_second: float = 4.0,
) -> EmbeddedItems:
    """CLIP embeddings of pictures and of videos; a video's is the aggregate of its frames.

    Raises:
        ValueError: none of the files can be used.
    """

    def embed(path: Path) -> Float[Tensor, "1 c"]:
        if path.suffix.lower() in VIDEO_ENDINGS:
            frames = read_frames(path, per_second=frames_per_second).pictures
            return aggregate(embed_pictures(image_encoder, feature_extractor, frames))
        return embed_pictures(image_encoder, feature_extractor, load_images(path))

    return _embedded(items, embed, image_encoder.config.projection_dim, cache)


def embed_sound_files(items: Sequence[Item], clap: Clap, cache: EmbeddingCache) -> EmbeddedItems:
    """CLAP embeddings of sounds and of the sounds of videos.

    Raises:
        ValueError: none of the files can be used.
    """
    rate = clap.extractor.sampling_rate

    def embed(path: Path) -> Float[Tensor, "1 a"]:
        wave = read_sound(path, rate)
        if is_silent(wave):
            raise ValueError(f"{path} is silent; replace or remove it")
        return clap.embed_sounds([wave], rate)

    return _embedded(items, embed, clap.model.config.projection_dim, cache)


def _embedded(
    items: Sequence[Item], embed: Callable[[Path], Float[Tensor, "1 d"]], width: int, cache: EmbeddingCache
) -> EmbeddedItems:
    """Embeddings of the usable items. Unusable ones are cached as NaN, by content, and named in a warning."""
    problems: dict[Path, str] = {}

    def rows(paths: list[Path]) -> Float[Tensor, "b d"]:
        found = []
        for path in paths:
            try:
                found.append(embed(path).cpu())
            except (ValueError, FileNotFoundError) as error:
                problems[path] = str(error)
                found.append(torch.full((1, width), float("nan")))
        return torch.cat(found)

    found = cache.embed([item.path for item in items], rows)
    usable = torch.isfinite(found).all(1).tolist()
    for item, fine in zip(items, usable, strict=True):
        if not fine:
            logger.warning("left out: %s", problems.get(item.path, f"{item.path} could not be used before either"))
    if not any(usable):
        raise ValueError(f"none of the {len(items)} files can be used: {next(iter(problems.values()), 'as before')}")
    kept = [item for item, fine in zip(items, usable, strict=True) if fine]
    return EmbeddedItems(kept, found[np.array(usable)])


def _held_out_marks(side: EmbeddedItems) -> Bool[Tensor, " n"]:
    return torch.tensor([item.held_out for item in side.items])
