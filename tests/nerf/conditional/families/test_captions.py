"""Captions say only what is true: of traits by the population's quantiles, of colours by the palette."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from nerf.conditional.families import FAMILIES, Family
from nerf.conditional.families.colors import COLORS, nearest_name
from nerf.conditional.families.family import POPULATION

both = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def split(caption: str, noun: str) -> tuple[list[str], list[str]]:
    """Adjectives before the noun, and what follows "with"."""
    found = re.fullmatch(rf"an? ((?:\w+ )*){noun}(?: with (.+))?", caption)
    assert found, caption
    return found[1].split(), re.split(", | and ", found[2]) if found[2] else []


@both
def test_captions_agree_with_quantiles_and_colours(family: Family) -> None:
    thirds = {
        name: np.quantile(value.float().numpy(), [1 / 3, 2 / 3])
        for name, value in family.measure(family.shapes(POPULATION, 2**20)).items()
    }
    count = 150
    shapes, palettes = family.shapes(count, 5), family.palettes(count, 6)
    measured = family.measure(shapes)
    generator = torch.Generator().manual_seed(0)
    said, colorless = set(), 0
    for index in range(count):
        adjectives, phrases = split(family.caption(shapes[index], palettes[index], generator), family.name[:-1])
        true = set()
        for trait in family.traits:
            value, (low, high) = float(measured[trait.name][index]), thirds[trait.name]
            true |= {(trait.low, trait.with_)} if value <= low + 1e-6 else set()
            true |= {(trait.high, trait.with_)} if value >= high - 1e-6 else set()
        colors = [nearest_name(palettes[index, 3 * i : 3 * i + 3]) for i in range(len(family.parts))]
        if len(set(colors)) == 1:
            true.add((colors[0], False))
        for color, part in zip(colors, family.parts, strict=True):
            article = "" if part.endswith("s") else "an " if color[0] in "aeiou" else "a "
            true.add((f"{article}{color} {part}", True))
        for word in adjectives:
            assert (word, False) in true
        for phrase in phrases:
            assert (phrase, True) in true
        named = any(color in " ".join(adjectives + phrases) for color in colors)
        assert named or adjectives or phrases
        colorless += not named
        said |= {*adjectives, *phrases}
    assert 0.15 < colorless / count < 0.4
    # All that can be said is said at times.
    assert all(word in said for trait in family.traits for word in (trait.low, trait.high))


@both
def test_a_third_of_the_population_lies_beyond_each_limit(family: Family) -> None:
    measured = family.measure(family.shapes(4000, 77))
    for trait in family.traits:
        low, high = family.quantiles[trait.name]
        value = measured[trait.name].float()
        if len(value.unique()) > 10:
            assert float((value <= low).float().mean()) == pytest.approx(1 / 3, abs=0.04)
            assert float((value >= high).float().mean()) == pytest.approx(1 / 3, abs=0.04)


def test_same_generator_same_sentence() -> None:
    family = FAMILIES["chairs"]
    shape, palette = family.shapes(1, 1)[0], family.palettes(1, 1)[0]
    sentences = [family.caption(shape, palette, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2, 3, 4, 5)]
    assert sentences[0] == sentences[1]
    assert len(set(sentences)) > 2


def test_articles_are_english() -> None:
    for family in FAMILIES.values():
        generator = torch.Generator().manual_seed(0)
        shapes, palettes = family.shapes(100, 5), family.palettes(100, 6)
        for shape, palette in zip(shapes, palettes, strict=True):
            sentence = family.caption(shape, palette, generator)
            for article, word in re.findall(r"\b(an?) (\w+)", sentence):
                assert (article == "an") == (word[0] in "aeiou"), sentence


def test_prototypes_are_their_own_nearest_names() -> None:
    assert len(COLORS) == 11
    for name, rgb in COLORS.items():
        assert nearest_name(torch.tensor(rgb)) == name


@both
def test_sampled_colours_keep_their_names_and_do_not_depend_on_shape(family: Family) -> None:
    """Every name occurs about as often, and a third of the palettes have one colour only."""
    palettes = family.palettes(1100, 0)
    assert palettes.shape == (1100, family.palette_size)
    assert ((palettes >= 0) & (palettes <= 1)).all()
    first = [nearest_name(palette[:3]) for palette in palettes]
    counts = np.array([first.count(name) for name in COLORS])
    assert counts.min() > 60
    assert counts.max() < 145
    one = (palettes[:, :3] == palettes[:, 3:6]).all(1).float().mean()
    assert float(one) == pytest.approx(0.3, abs=0.05)
    shapes = family.shapes(1100, 1)
    correlation = np.corrcoef(torch.cat([shapes, palettes], 1).numpy().T)
    assert np.abs(correlation[: shapes.shape[1], shapes.shape[1] :]).max() < 0.12
