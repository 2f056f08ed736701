"""Captions of the nano world and the little grammar they need."""

from __future__ import annotations

import numpy as np

from .colors import COLORS
from .grounds import GROUNDS, PATTERNS
from .places import PLACES
from .scenes import Scene
from .sprites import SUBSET, objects
from .styles import COLORLESS

PLACE_PHRASES: dict[str, str] = {
    "beach": "on the beach",
    "snow": "in the snow",
    "night sky": "in the night sky",
    "meadow": "in the meadow",
    "desert": "in the desert",
    "sea": "in the sea",
    "room": "in the room",
}

STYLE_PHRASES: dict[str, str] = {
    "grayscale": "a grayscale photo of",
    "sepia": "a sepia photo of",
    "sketch": "a sketch of",
    "watercolor": "a watercolor of",
    "mosaic": "a mosaic of",
    "cartoon": "a cartoon of",
}

PREFIXES: tuple[str, ...] = ("", "a photo of", "a picture of")

UNITS: dict[str, str] = {
    "bacon": "pieces", "ballet shoes": "pairs", "billiards": "games", "boots": "pairs", "bowling": "games",
    "bread": "loaves", "broccoli": "pieces", "butter": "pieces", "coral": "pieces",
    "dark sunglasses": "pairs", "eyeglasses": "pairs", "french fries": "boxes", "garlic": "pieces",
    "gloves": "pairs", "goggles": "pairs", "grapes": "bunches", "jeans": "pairs", "popcorn": "boxes",
    "shaved ice": "pieces", "shorts": "pairs", "socks": "pairs", "spaghetti": "pieces", "sushi": "pieces",
}  # fmt: skip
"""Names without "a", and their units of counting: "jeans", "two pairs of jeans"."""

PLURAL: frozenset[str] = frozenset(
    {"books", "cherries", "crossed swords", "dango", "dice", "nesting dolls", "pancakes", "peanuts", "scales"}
)
"""Names that are plural already."""

IRREGULAR: dict[str, str] = {
    "bison": "bison", "buffalo": "buffaloes", "cactus": "cacti", "deer": "deer", "fish": "fish",
    "leaf": "leaves", "mango": "mangoes", "mosquito": "mosquitoes", "mouse": "mice", "ox": "oxen",
    "potato": "potatoes", "pufferfish": "pufferfish", "scarf": "scarves", "sheep": "sheep",
    "shrimp": "shrimp", "snowman": "snowmen", "squid": "squid", "tomato": "tomatoes",
    "volcano": "volcanoes",
}  # fmt: skip
"""Plurals of last words that follow no rule."""

ITEM_CATEGORIES: frozenset[str] = frozenset({"food", "clothing", "household", "sport"})
"""Category words that are no count nouns: captions also say "a clothing item"."""


def with_article(phrase: str) -> str:
    """``phrase`` with "a" or "an": "an orange teapot"; names in the plural and uncounted ones stay bare.

    A colour before the name is allowed: "red jeans" stays bare like "jeans".
    """
    first, _, rest = phrase.partition(" ")
    name = rest if first in COLORS and rest else phrase
    if name in UNITS or name in PLURAL:
        return phrase
    vowel = phrase[0] in "aeiou" or phrase.startswith("hour")
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(name: str) -> str:
    """What follows "two": "two mice", "two pairs of jeans", "two loaves of bread"."""
    if name in UNITS:
        return f"{UNITS[name]} of {name}"
    if name in PLURAL:
        return name
    start, space, last = name.rpartition(" ")
    return start + space + _plural_word(last)


def _plural_word(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def caption(scene: Scene, rng: np.random.Generator, use_category: bool | None = None) -> str:
    """A sentence for ``scene``: "a photo of two red teapots on blue stripes".

    One in four has the category instead of the name; one in twelve does not mention the place or ground.

    Args:
        scene: what the picture shows.
        rng: source of the wording.
        use_category: True or False to have the category or the name; None to draw it.
    """
    category_draw, place_draw, item_draw = rng.random(3)
    prefix = PREFIXES[rng.integers(len(PREFIXES))]
    if use_category is None:
        use_category = bool(category_draw < 0.25)
    name = scene.object
    if use_category:
        name = scene.category
        if name in ITEM_CATEGORIES and (item_draw < 0.5 or scene.count == 2):
            name += " item"
    parts = [STYLE_PHRASES[scene.style] if scene.style else prefix, subject(name, scene.tint, scene.count)]
    if place_draw >= 1 / 12:
        parts.append(where(scene.place, None if scene.style in COLORLESS else scene.color))
    return " ".join(part for part in parts if part)


def subject(name: str, tint: str | None = None, count: int = 1) -> str:
    """The object with article or number and colour: "an orange teapot", "two pairs of red jeans"."""
    if count == 1:
        return with_article(f"{tint} {name}" if tint else name)
    many = plural(name)
    if tint and many.endswith(f"of {name}"):
        return f"two {many.removesuffix(name)}{tint} {name}"
    return f"two {tint} {many}" if tint else f"two {many}"


def where(place: str, color: str | None = None) -> str:
    """ "on the beach", "on a red ground" or "on blue stripes"; without ``color`` "on stripes"."""
    if place in PLACE_PHRASES:
        return PLACE_PHRASES[place]
    if place == "plain":
        return f"on {with_article(f'{color or place} ground')}"
    return f"on {color} {place}" if color else f"on {place}"


def vocabulary_texts() -> list[str]:
    """Texts with every word of the captions, the usual ones more often, to train the tokenizer on.

    Names of held-out objects are left out: nothing is trained on them.
    """
    train = [info.name for info in objects("train")]
    categories = sorted({info.category for info in objects("train")})
    texts = [f"{style} {where(place, color)}" for style in STYLE_PHRASES.values() for place, color in _surroundings()]
    texts += [f"{prefix} {color} {noun}" for prefix in PREFIXES for color in COLORS for noun in PATTERNS] * 4
    for names, weight in ((train, 4), (SUBSET, 12), (categories, 40)):
        for name in names:
            texts += [subject(name), subject(name), subject(name, count=2)] * weight
    return texts + [f"{category} item items" for category in ITEM_CATEGORIES] * 40


def _surroundings() -> list[tuple[str, str | None]]:
    places: list[tuple[str, str | None]] = [(place, None) for place in (*PLACES, *GROUNDS)] * len(COLORS)
    return places + [(kind, color) for kind in GROUNDS for color in COLORS]
