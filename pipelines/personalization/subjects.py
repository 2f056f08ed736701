"""Pictures, masks and category that each word is learned from, as users give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..images import Images, centred, load_images, load_masks

T = TypeVar("T")


@dataclass
class Subject:
    """A word to learn, its mapper and what it is learned from."""

    token: str
    mapper: nn.Module
    pictures: Float[Tensor, "n 3 h w"]
    """In [-1, 1]."""
    inside: Float[Tensor, "n 1 h w"] | None = None
    """1 on the subject, 0 elsewhere; None: the whole pictures count."""


@dataclass(frozen=True)
class Source:
    """A word to learn, as the user gave it."""

    token: str
    category: str
    pictures: list[Image.Image]
    masks: list[Image.Image] | None
    """As many as pictures, gray."""

    def split(self, held_out: int) -> tuple[Source, Source]:
        """The pictures to learn from, and the last ``held_out`` ones.

        Raises:
            ValueError: none is left to learn from.
        """
        count = len(self.pictures) - held_out
        if count < 1:
            raise ValueError(
                f"held_out is {held_out}, but there are only {len(self.pictures)} pictures of {self.token}; "
                "add pictures or hold fewer out"
            )
        first, last = (
            Source(self.token, self.category, self.pictures[part], None if self.masks is None else self.masks[part])
            for part in (slice(count), slice(count, None))
        )
        return first, last

    def subject(self, mapper: nn.Module, size: tuple[int, int]) -> Subject:
        """The centres of the pictures at ``size`` (width and height), with the mapper that learns from them."""
        inside = None if self.masks is None else _pixels(self.masks, size)
        return Subject(self.token, mapper, _pixels(self.pictures, size) * 2 - 1, inside)


def read_sources(
    images: Images | Mapping[str, Images],
    token: str | None,
    category: str | Mapping[str, str] | None,
    masks: Images | Mapping[str, Images] | None,
) -> list[Source]:
    """Read the pictures and masks of one word, or of each word of a mapping.

    Raises:
        FileNotFoundError, ValueError: something is missing, cannot be read, or belongs to no word.
    """
    if isinstance(images, Mapping):
        if token is not None:
            raise ValueError(f"images already names the words {', '.join(images)}; leave token={token!r} out")
        if not images:
            raise ValueError("images names no words; give a folder for each, such as {'<my-cat>': 'cat'}")
        each = cast(Mapping[str, Images], images)
    else:
        if token is None:
            raise ValueError("token is missing; choose a new word such as '<my-cat>'")
        each = {token: images}
    for name, values in (("category", category), ("masks", masks)):
        unknown = [word for word in values if word not in each] if isinstance(values, Mapping) else []
        if unknown:
            raise ValueError(f"{name} names {unknown[0]}, which is not to be learned; words are {', '.join(each)}")
    masked = {word: _own(masks, word) for word in each}
    bare = [word for word, mask in masked.items() if mask is None]
    if masks is not None and bare:
        raise ValueError(f"masks are missing for {', '.join(bare)}; give every word its own, or none at all")
    if len(each) > 1 and masks is not None and not isinstance(masks, Mapping) and masks != "alpha":
        raise ValueError('masks of several words need a mapping from each word to its own; or use "alpha"')
    sources = []
    for word, pictures in each.items():
        loaded, where = load_images(pictures), masked[word]
        sizes = [picture.size for picture in loaded]
        mask = None if where is None else load_masks(where, pictures, sizes)
        kind = _own(category, word)
        if kind is not None and not kind.strip():
            raise ValueError(f"the category of {word} is empty; say what kind of thing it is, such as 'toy'")
        sources.append(Source(word, kind or "object", loaded, mask))
    return sources


def folder_names(tokens: Sequence[str]) -> list[str]:
    """A folder for each of several words: its letters, digits, hyphens and underscores.

    Raises:
        ValueError: two words would share one, or a word has none.
    """
    names = [re.sub(r"[^\w-]", "", token) for token in tokens]
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            raise ValueError(f"token {tokens[i]!r} would be saved as {name!r}; choose a word with a name of its own")
    return names


def _own(values: T | Mapping[str, T] | None, word: str) -> T | None:
    """The value for a word: its own entry in a mapping, or the one value for all words."""
    return values.get(word) if isinstance(values, Mapping) else values


def common_size(sources: Sequence[Source], side: int, factor: int) -> tuple[int, int]:
    """Width and height of about ``side`` times ``side`` pixels, in the proportions that most of the pictures have.

    Proportions are limited to 1:2 and 2:1; both sides are multiples of ``factor``, and of its eightfold where that is
    at most an eighth of ``side``.
    """
    ratios = sorted(picture.width / picture.height for source in sources for picture in source.pictures)
    ratio = min(max(ratios[len(ratios) // 2], 0.5), 2.0)
    step = 8 * factor if 64 * factor <= side else factor
    width, height = (max(step, round(length / step) * step) for length in (side * ratio**0.5, side / ratio**0.5))
    return width, height


def _pixels(pictures: list[Image.Image], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    """The centres of ``pictures`` at ``size``, in 0..1."""
    pixels = np.stack([np.asarray(centred(picture, size)) for picture in pictures])
    return torch.from_numpy(pixels).reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2).float() / 255
