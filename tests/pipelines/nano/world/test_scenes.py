"""Drawing scenes: shares, independence, poses, and one clear sentence for a wrong name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from pipelines.nano import world
from pipelines.nano.world.sprites import draw_object


@pytest.fixture(scope="module")
def many() -> list[world.Scene]:
    rng = np.random.default_rng(0)
    return [world.sample_scene(rng) for _ in range(12_000)]


def share(values: Iterable[object]) -> float:
    """The share of true ones."""
    return float(np.mean([bool(value) for value in values]))


def test_shares(many: list[world.Scene]) -> None:
    assert share(s.place in world.PLACES for s in many) == pytest.approx(0.5, abs=0.015)
    assert share(s.place == "plain" for s in many) == pytest.approx(0.19, abs=0.015)
    assert share(s.count == 2 for s in many) == pytest.approx(0.1, abs=0.015)
    assert share(s.style for s in many) == pytest.approx(0.2, abs=0.015)
    assert share(s.flip for s in many) == pytest.approx(0.5, abs=0.015)
    assert share(s.tint for s in many if not s.style) == pytest.approx(0.3, abs=0.015)


def test_every_name_occurs_about_equally_often(many: list[world.Scene]) -> None:
    for field, size in (("place", 13), ("tint", 12), ("style", 7), ("object", 128)):
        counts = Counter(getattr(s, field) for s in many)
        assert len(counts) == size
    places = Counter(s.place for s in many if not s.is_ground)
    assert max(places.values()) < 1.25 * min(places.values())


def test_tint_is_independent_of_surroundings(many: list[world.Scene]) -> None:
    tinted = [s for s in many if s.tint and s.is_ground]
    same = np.mean([s.tint == s.color for s in tinted])
    assert same == pytest.approx(1 / 11, abs=0.03)
    shares = [share(s.tint for s in many if s.place == place) for place in world.PLACES]
    assert max(shares) - min(shares) < 0.08


def test_colorless_styles_have_no_tint_unless_told(many: list[world.Scene]) -> None:
    assert not [s for s in many if s.tint and s.style in {"grayscale", "sepia", "sketch"}]
    scene = world.sample_scene(np.random.default_rng(0), style="sketch", tint="red")
    assert (scene.style, scene.tint) == ("sketch", "red")


def test_held_out_objects_are_never_drawn_by_default(many: list[world.Scene]) -> None:
    held_out = {info.name for info in world.objects("held-out")}
    assert len(held_out) == 23
    assert not held_out & {s.object for s in many}
    assert not held_out & set(world.SUBSET)


def test_subset_is_of_every_category_and_large_enough() -> None:
    train = {info.name: info.category for info in world.objects()}
    assert len(world.objects()) == 350
    assert len(world.objects("all")) == 373
    assert len(set(world.SUBSET)) == len(world.SUBSET) == 128
    assert {train[name] for name in world.SUBSET} == set(train.values())


def test_objects_are_big_and_in_the_frame(many: list[world.Scene]) -> None:
    single = [s for s in many if s.count == 1]
    assert 0.6 <= min(s.scale for s in single)
    assert max(s.scale for s in single) <= 0.86
    assert all(abs(s.tilt) <= 15 for s in many)
    assert all(0.4 < s.x < 0.6 and 0.4 < s.y < 0.75 for s in many)
    for s in single[:200]:
        _, opacity = draw_object(s.object, 64, scale=s.scale, x=s.x, y=s.y, tilt=s.tilt, flip=s.flip)
        _, whole = draw_object(s.object, 64, scale=s.scale, x=0.5, y=0.5, tilt=s.tilt, flip=s.flip)
        assert opacity.sum() > 0.97 * whole.sum()


def test_fixing_a_field_leaves_the_other_draws_alone() -> None:
    free = world.sample_scene(np.random.default_rng(4))
    fixed = world.sample_scene(np.random.default_rng(4), object="cat")
    assert fixed.object == "cat"
    for field in ("place", "color", "tint", "count", "style", "tilt", "flip", "seed"):
        assert getattr(free, field) == getattr(fixed, field)


def test_a_fixed_color_implies_a_ground() -> None:
    scenes = [world.sample_scene(np.random.default_rng(i), color="red") for i in range(20)]
    assert all(s.is_ground and s.color == "red" for s in scenes)


def test_scenes_of_keeps_the_order() -> None:
    names = ["cat", "dog", "cat"]
    scenes = world.scenes_of(names, seed=1)
    assert [s.object for s in scenes] == names
    assert scenes[0] != scenes[2]
    assert scenes == world.scenes_of(names, seed=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"object": "teapt"}, "the nano world has no object named 'teapt'; nearest: teapot"),
        ({"object": "qqqq"}, "no object named 'qqqq'; world.objects"),
        ({"place": "beech"}, "place must be a name of the nano world, got 'beech': did you mean 'beach'?"),
        ({"place": "qqqq"}, "got 'qqqq': one of beach, snow, night sky"),
        ({"place": "stripes"}, "color must be a name of the nano world, got None"),
        ({"color": "red"}, 'color belongs to grounds; leave it out with the place "beach"'),
        ({"tint": "crimson"}, "tint must be a name of the nano world, got 'crimson'"),
        ({"style": "cubist"}, "style must be a name of the nano world, got 'cubist'"),
        ({"count": 3}, "count must be 1 or 2, got 3"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"scale": 9.0}, "scale must be in 0.05..2 frames, got 9.0"),
    ],
)
def test_wrong_values_get_one_clear_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        world.Scene(**{"object": "cat", "place": "beach", **fields})
    assert "\n" not in str(caught.value)


def test_sampling_refuses_unknown_fields_and_names() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="did you mean 'tint'"):
        world.sample_scene(rng, tnt="red")
    with pytest.raises(ValueError, match="names is empty"):
        world.sample_scene(rng, [])
    with pytest.raises(ValueError, match="no object named 'wolf'"):
        world.sample_scene(rng, ["wolf"])
    with pytest.raises(ValueError, match='split must be "train", "held-out" or "all"'):
        world.objects("test")
