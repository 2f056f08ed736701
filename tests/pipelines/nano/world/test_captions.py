"""Captions of the nano world: what they say and their grammar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.nano import world
from pipelines.nano.world.captions import IRREGULAR, PLACE_PHRASES, STYLE_PHRASES, UNITS


def said(seed: int = 0, use_category: bool | None = False, **fields: Any) -> set[str]:
    """Every wording of forty drawn for one scene."""
    scene = world.Scene(**{"object": "teapot", "place": "beach", **fields})
    rng = np.random.default_rng(seed)
    return {world.caption(scene, rng, use_category) for _ in range(80)}


def test_templates() -> None:
    prefixes = ("", "a photo of ", "a picture of ")
    assert said() == {f"{p}a teapot{where}" for p in prefixes for where in ("", " on the beach")}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"place": "snow"}, "a photo of a teapot in the snow"),
        ({"place": "night sky"}, "a teapot in the night sky"),
        ({"place": "plain", "color": "red", "count": 2}, "two teapots on a red ground"),
        ({"place": "plain", "color": "orange"}, "a teapot on an orange ground"),
        ({"place": "stripes", "color": "blue", "count": 2}, "two teapots on blue stripes"),
        ({"tint": "red"}, "a red teapot on the beach"),
        ({"tint": "orange", "count": 2}, "two orange teapots on the beach"),
        ({"style": "watercolor"}, "a watercolor of a teapot on the beach"),
        ({"style": "sketch", "place": "stripes", "color": "blue"}, "a sketch of a teapot on stripes"),
        (
            {"style": "grayscale", "place": "plain", "color": "blue"},
            "a grayscale photo of a teapot on a plain ground",
        ),
        ({"object": "jeans", "tint": "red", "count": 2}, "two pairs of red jeans on the beach"),
        ({"object": "elephant", "tint": "white"}, "a white elephant on the beach"),
        ({"object": "elephant"}, "an elephant on the beach"),
    ],
)
def test_sentences(fields: dict[str, Any], expected: str) -> None:
    assert expected in said(**fields)


def test_captions_mention_every_field() -> None:
    rng = np.random.default_rng(1)
    silent = 0
    for _ in range(3000):
        scene = world.sample_scene(rng)
        text = world.caption(scene, rng, use_category=False)
        assert scene.count == 1 or "two " in text
        assert world.subject(scene.object, scene.tint, scene.count) in text
        assert scene.style is None or text.startswith(STYLE_PHRASES[scene.style])
        word = PLACE_PHRASES.get(scene.place, "ground" if scene.place == "plain" else scene.place)
        silent += word not in text
        if scene.color and word in text and scene.style not in {"grayscale", "sepia", "sketch"}:
            assert f"{scene.color} {word}" in text
        assert len(text.split()) <= 14
    assert silent / 3000 == pytest.approx(1 / 12, abs=0.02)


def test_one_caption_in_four_says_the_category() -> None:
    rng = np.random.default_rng(2)
    scenes = [world.sample_scene(rng, ["duck"], count=1, tint=None, style=None) for _ in range(4000)]
    texts = [world.caption(scene, rng) for scene in scenes]
    assert np.mean(["an animal" in t for t in texts]) == pytest.approx(0.25, abs=0.025)
    assert all(("an animal" in t) != ("a duck" in t) for t in texts)


@pytest.mark.parametrize(
    ("name", "count", "phrases"),
    [
        ("duck", 1, {"an animal"}),
        ("duck", 2, {"two animals"}),
        ("factory", 2, {"two buildings"}),
        ("cap", 1, {"a clothing", "a clothing item"}),
        ("cap", 2, {"two clothing items"}),
        ("pear", 2, {"two food items"}),
        ("accordion", 1, {"an instrument"}),
    ],
)
def test_category_phrases(name: str, count: int, phrases: set[str]) -> None:
    texts = said(object=name, count=count, use_category=True)
    subjects = {t.removesuffix(" on the beach").split(" of ")[-1] for t in texts}
    assert subjects == phrases


def test_articles_of_all_names() -> None:
    bare = {i.name for i in world.objects("all") if world.with_article(i.name) == i.name}
    assert bare == {
        "bacon", "ballet shoes", "billiards", "books", "boots", "bowling", "bread", "broccoli",
        "butter", "cherries", "coral", "crossed swords", "dango", "dark sunglasses", "dice",
        "eyeglasses", "french fries", "garlic", "gloves", "goggles", "grapes", "jeans", "nesting dolls",
        "pancakes", "peanuts", "popcorn", "scales", "shaved ice", "shorts", "socks", "spaghetti",
        "sushi",
    }  # fmt: skip
    an = {i.name for i in world.objects("all") if world.with_article(i.name).startswith("an ")}
    assert "hourglass" in an
    assert all(name[0] in "aeiou" or name == "hourglass" for name in an)
    vowels = {i.name for i in world.objects("all") if i.name[0] in "aeiou"}
    assert vowels - an == {"eyeglasses"}
    assert world.with_article("honey pot") == "a honey pot"
    assert world.with_article("orange duck") == "an orange duck"
    assert world.with_article("orange jeans") == "orange jeans"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alien monster", "alien monsters"), ("axe", "axes"), ("battery", "batteries"),
        ("bento box", "bento boxes"), ("bison", "bison"), ("bread", "loaves of bread"),
        ("bus", "buses"), ("cactus", "cacti"), ("cherries", "cherries"), ("church", "churches"),
        ("cockroach", "cockroaches"), ("compass", "compasses"), ("deer", "deer"), ("dice", "dice"),
        ("dress", "dresses"), ("ferry", "ferries"), ("gloves", "pairs of gloves"),
        ("goal net", "goal nets"), ("grapes", "bunches of grapes"), ("hibiscus", "hibiscuses"),
        ("hourglass", "hourglasses"), ("jeans", "pairs of jeans"), ("kangaroo", "kangaroos"),
        ("key", "keys"), ("lotus", "lotuses"), ("mango", "mangoes"), ("maple leaf", "maple leaves"),
        ("mosquito", "mosquitoes"), ("mouse", "mice"), ("mouse trap", "mouse traps"),
        ("octopus", "octopuses"), ("ox", "oxen"), ("peach", "peaches"), ("piano", "pianos"),
        ("potato", "potatoes"), ("pufferfish", "pufferfish"), ("radio", "radios"),
        ("rhinoceros", "rhinoceroses"), ("scarf", "scarves"), ("sheep", "sheep"), ("shrimp", "shrimp"),
        ("snowman", "snowmen"), ("squid", "squid"), ("sushi", "pieces of sushi"), ("t-rex", "t-rexes"),
        ("taxi", "taxis"), ("tomato", "tomatoes"), ("toothbrush", "toothbrushes"),
        ("trophy", "trophies"), ("tropical fish", "tropical fish"), ("turkey", "turkeys"),
        ("volcano", "volcanoes"), ("watch", "watches"), ("water buffalo", "water buffaloes"),
        ("wrench", "wrenches"), ("yo-yo", "yo-yos"),
    ],
)  # fmt: skip
def test_plurals_that_need_care(name: str, expected: str) -> None:
    assert world.plural(name) == expected


def test_plurals_of_all_other_names_add_s() -> None:
    for name in (info.name for info in world.objects("all")):
        last = name.split()[-1]
        if name in UNITS or last in IRREGULAR or world.plural(name) == name:
            continue
        if last.endswith(("s", "x", "z", "ch", "sh")):
            assert world.plural(name) == name + "es"
        elif last[-1] == "y" and last[-2] not in "aeiou":
            assert world.plural(name) == name[:-1] + "ies"
        else:
            assert world.plural(name) == name + "s"


def test_vocabulary_has_every_word_of_the_captions_and_no_held_out_name() -> None:
    words = {word for text in world.vocabulary_texts() for word in text.split()}
    rng = np.random.default_rng(3)
    names = [info.name for info in world.objects()]
    for _ in range(4000):
        assert set(world.caption(world.sample_scene(rng, names), rng).split()) <= words
    train = {word for name in names for word in name.split()}
    held_out = {word for info in world.objects("held-out") for word in info.name.split()} - train
    assert len(held_out) >= 20
    assert not held_out & words
