"""Captions from the words for a shape's traits and a palette's colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .colors import nearest_name

SHAPE_WORDS = 2
"""Largest number of traits in a caption."""
COLORLESS = 0.4
"""Share of captions without a colour, among captions with a trait."""


@dataclass(frozen=True)
class Trait:
    """A measurable trait of a shape, and the words for its lower and its upper third.

    ``low`` and ``high`` are adjectives of the object ("wide"). If ``with_`` is True, they are parts that it has
    ("a tall back"). An empty word is never used.
    """

    name: str
    low: str
    high: str
    measure: Callable[[Mapping[str, Tensor]], Tensor]
    with_: bool = False


def word_for(trait: Trait, value: float, limits: tuple[float, float]) -> str:
    """The word for a measured value; empty for the middle third."""
    low, high = limits
    return trait.low if value <= low else trait.high if value >= high else ""


def caption(
    noun: str,
    traits: Sequence[Trait],
    measured: Mapping[str, float],
    quantiles: Mapping[str, tuple[float, float]],
    parts: Sequence[str],
    palette: Float[Tensor, " q"],
    generator: torch.Generator,
) -> str:
    """A true sentence with up to `SHAPE_WORDS` random traits and, in most cases, colours of random parts."""
    words = [(trait, word_for(trait, measured[trait.name], quantiles[trait.name])) for trait in traits]
    words = [(trait, word) for trait, word in words if word]
    few = int(torch.randint(min(SHAPE_WORDS, len(words)) + 1, (), generator=generator))
    chosen = [words[i] for i in torch.randperm(len(words), generator=generator)[:few].tolist()]
    colors = [nearest_name(palette[3 * i : 3 * i + 3]) for i in range(len(parts))]
    adjectives = [word for trait, word in chosen if not trait.with_][:1]
    phrases = [word for trait, word in chosen if trait.with_]
    colored = not chosen or float(torch.rand((), generator=generator)) >= COLORLESS
    if colored and len(set(colors)) == 1:
        adjectives.append(colors[0])
    elif colored:
        order: list[int] = torch.randperm(len(parts), generator=generator).tolist()
        named = order[: int(torch.randint(1, len(parts) + 1, (), generator=generator))]
        phrases += [_part(colors[i], parts[i]) for i in named]
    sentence = " ".join([*adjectives, noun])
    article = "an" if sentence[0] in "aeiou" else "a"
    return f"{article} {sentence}" + (f" with {_listed(phrases)}" if phrases else "")


def _part(color: str, part: str) -> str:
    """ "a red seat", "blue legs"."""
    if part.endswith("s"):
        return f"{color} {part}"
    return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {part}"


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
