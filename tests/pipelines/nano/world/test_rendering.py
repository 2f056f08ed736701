"""Pictures of the nano world: determinism, and that each field of a scene shows as it should."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.nano import world
from pipelines.nano.world.colors import LUMA
from pipelines.nano.world.sprites import draw_object

PLAIN = world.Scene(object="dice", place="plain", color="white")
SPOTS = {"x": 0.5, "y": 0.5, "tilt": 0.0, "flip": False}


def picture(**changes: Any) -> np.ndarray:
    """The scene `PLAIN` with ``changes``, as float [64, 64, 3] in 0..1."""
    return world.render(dataclasses.replace(PLAIN, **changes)).astype(np.float64) / 255


def border(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of the four corners, which no object reaches."""
    return np.mean([pixels[:6, :6], pixels[:6, -6:], pixels[-6:, :6], pixels[-6:, -6:]], axis=(0, 1, 2))


def nearest_color(color: np.ndarray) -> str:
    """The name of the palette's colour nearest to ``color``."""
    return min(world.COLORS, key=lambda name: float(np.square(world.COLORS[name] - color).sum()))


def test_render_depends_on_the_scene_alone() -> None:
    scenes = world.scenes_of(world.SUBSET[:40], seed=5)
    first = [world.render(scene) for scene in scenes]
    np.random.default_rng(0)
    again = [world.render(dataclasses.replace(scene)) for scene in reversed(scenes)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(p.dtype == np.uint8 and p.shape == (64, 64, 3) for p in first)


def test_render_leaves_the_global_generator_alone() -> None:
    before = repr(np.random.get_state())
    world.render(world.scenes_of(["cat"], place="meadow", style="watercolor")[0])
    assert repr(np.random.get_state()) == before


def test_seed_varies_the_place_but_not_the_object() -> None:
    one, two = picture(place="meadow", color=None, seed=1), picture(place="meadow", color=None, seed=2)
    changed = np.abs(one - two).max(axis=2)
    assert (changed > 0.1).mean() > 0.1
    assert changed[26:38, 26:38].max() < 0.01


@pytest.mark.parametrize("size", [16, 48, 100, 128, 256])
def test_size_shows_the_same_picture(size: int) -> None:
    for scene in world.scenes_of(["cat", "taxi", "rose", "bell"], style=None):
        large = world.render(scene, size)
        assert large.shape == (size, size, 3)
        small = min(size, 64)
        pair = [
            np.asarray(Image.fromarray(p).resize((small, small), Image.Resampling.BOX), dtype=np.float64)
            for p in (large, world.render(scene))
        ]
        assert 10 * np.log10(255**2 / np.square(pair[0] - pair[1]).mean()) > 21


def test_places_are_told_apart_by_a_nearest_mean_of_coarse_pictures() -> None:
    def coarse(place: str, seeds: range) -> np.ndarray:
        scenes = [
            world.sample_scene(np.random.default_rng([seed, 3]), place=place, style=None, count=1) for seed in seeds
        ]
        small = [p.resize((8, 8), Image.Resampling.BOX) for p in world.render_all(scenes)]
        return np.stack([np.asarray(p, dtype=float) for p in small])

    means = {place: coarse(place, range(24)).mean(axis=0) for place in world.PLACES}
    right = []
    for place in world.PLACES:
        for pixels in coarse(place, range(100, 124)):
            errors = {name: np.square(pixels - mean).mean() for name, mean in means.items()}
            right.append(min(errors, key=errors.__getitem__) == place)
    assert np.mean(right) > 0.97


@pytest.mark.parametrize("seed", range(4))
def test_places_have_their_colors(seed: int) -> None:
    def at(place: str, rows: slice) -> np.ndarray:
        pixels = picture(place=place, color=None, seed=seed, scale=0.1)
        return np.median(pixels[rows].reshape(-1, 3), axis=0)

    low, high, middle = slice(56, 64), slice(0, 8), slice(26, 34)
    red, green, blue = at("beach", low)
    assert red > 0.85
    assert red > green > blue + 0.1, "sand"
    red, green, blue = at("beach", middle)
    assert blue > red + 0.2, "water"
    assert at("snow", low).min() > 0.9
    assert at("night sky", high).max() < 0.35
    red, green, blue = at("meadow", low)
    assert green > 1.3 * max(red, blue)
    red, green, blue = at("desert", low)
    assert red > green + 0.1
    assert green > blue + 0.1
    red, green, blue = at("sea", low)
    assert blue > red + 0.2
    assert blue > green + 0.1
    red, green, blue = at("room", low)
    wall = at("room", slice(36, 38))
    assert np.abs(wall - (red, green, blue)).max() > 0.1


def test_things_in_the_sea_are_in_the_water() -> None:
    sea = picture(place="sea", color=None, y=0.62)
    _, opacity = draw_object("dice", 64, scale=0.7, **{**SPOTS, "y": 0.62})
    under = (opacity > 0.9) & (np.arange(64)[:, None] > 55)
    assert under.sum() > 50
    assert (sea[under][:, 2] > sea[under][:, 0] + 0.2).all()


@pytest.mark.parametrize("color", world.COLORS)
def test_plain_grounds_have_their_color(color: str) -> None:
    for seed in range(6):
        assert nearest_color(border(picture(color=color, seed=seed, scale=0.2))) == color


@pytest.mark.parametrize("pattern", world.PATTERNS)
@pytest.mark.parametrize("color", world.COLORS)
def test_patterns_show_their_color_in_a_share_of_the_frame(pattern: str, color: str) -> None:
    for seed in range(3):
        pixels = picture(place=pattern, color=color, seed=seed, scale=0.05)
        shares = [np.abs(p - world.COLORS[color]).max() < 0.14 for p in pixels.reshape(-1, 3)]
        assert 0.2 < np.mean(shares) < 0.75


def ground(pattern: str, seed: int) -> np.ndarray:
    """The pattern's bands as -1 and 1, [64, 64], from a black ground with a tiny object in one corner."""
    pixels = picture(place=pattern, color="black", seed=seed, scale=0.05, x=0.0, y=0.0)
    return np.where(pixels.mean(axis=2) > 0.5, 1.0, -1.0)[8:, 8:]


@pytest.mark.parametrize("seed", range(8))
def test_stripes_are_the_same_along_one_direction(seed: int) -> None:
    bands = ground("stripes", seed)
    moved = {"along": bands[:, 6:], "down": bands[6:, 3:-3], "right": bands[6:, 6:], "left": bands[6:, :-6]}
    still = {
        "along": bands[:, :-6],
        "down": bands[:-6, 3:-3],
        "right": bands[:-6, :-6],
        "left": bands[:-6, 6:],
    }
    alike = [np.mean(moved[step] == still[step]) for step in moved]
    assert max(alike) > 0.9
    assert min(alike) < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_checks_are_a_product_of_rows_and_columns(seed: int) -> None:
    values = np.linalg.svd(ground("checks", seed), compute_uv=False)
    assert values[0] ** 2 / np.square(values).sum() > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_rings_depend_on_the_distance_from_a_middle(seed: int) -> None:
    bands = ground("rings", seed)
    y, x = np.mgrid[8:64, 8:64]
    best = 0.0
    for cx, cy in np.ndindex(14, 14):
        radius = np.hypot(x - cx - 25, y - cy - 25).astype(int)
        total = np.bincount(radius.ravel(), bands.ravel())
        best = max(best, np.abs(total).sum() / bands.size)
    assert best > 0.75


@pytest.mark.parametrize("seed", range(4))
def test_patterns_are_coarse(seed: int) -> None:
    for pattern in world.PATTERNS:
        bands = ground(pattern, seed)
        turns = max((np.diff(bands, axis=axis) != 0).sum(axis=axis).max() for axis in (0, 1))
        assert turns / 2 <= 56 / 7.5, "periods are about eight pixels or more"


@pytest.mark.parametrize("tint", world.COLORS)
@pytest.mark.parametrize("name", ["teapot", "spider", "soccer ball", "taxi", "swan"])
def test_tints_take_their_color_and_keep_the_shading(name: str, tint: str) -> None:
    ground_color = "gray" if tint != "gray" else "white"
    before = picture(object=name, color=ground_color)
    after = picture(object=name, color=ground_color, tint=tint)
    _, opacity = draw_object(name, 64, scale=0.7, **SPOTS)
    solid = opacity > 0.95
    assert nearest_color(np.median(after[solid], axis=0)) == tint
    assert np.corrcoef(before[solid] @ LUMA, after[solid] @ LUMA)[0, 1] > 0.8
    assert np.abs(before - after)[opacity == 0].max() == 0
    assert np.std(after[solid] @ LUMA) > 0.03


def test_flip_mirrors_the_object() -> None:
    colors, opacity = draw_object("duck", 64, scale=0.7, **SPOTS)
    mirrored, cover = draw_object("duck", 64, scale=0.7, **{**SPOTS, "flip": True})
    assert np.abs(mirrored - colors[:, ::-1]).max() < 0.02
    assert np.abs(cover - opacity[:, ::-1]).max() < 0.02


def test_scale_place_and_tilt_move_the_object() -> None:
    def moments(**changes: float) -> tuple[float, float, float, float]:
        _, opacity = draw_object("pencil", 128, **{"scale": 0.5, **SPOTS, **changes})
        y, x = np.mgrid[:128, :128] + 0.5
        area = opacity.sum()
        cx, cy = (x * opacity).sum() / area, (y * opacity).sum() / area
        xy = ((x - cx) * (y - cy) * opacity).sum()
        angle = 0.5 * np.arctan2(2 * xy, (((x - cx) ** 2 - (y - cy) ** 2) * opacity).sum())
        return area / 128**2, cx / 128, cy / 128, float(np.degrees(angle))

    base, bigger = moments(), moments(scale=0.75)
    moved, tilted = moments(x=0.6, y=0.45), moments(tilt=12.0)
    assert bigger[0] / base[0] == pytest.approx(2.25, rel=0.02)
    assert (moved[1] - base[1], moved[2] - base[2]) == pytest.approx((0.1, -0.05), abs=0.002)
    assert tilted[3] - base[3] == pytest.approx(12, abs=0.5)


def test_pairs_stand_side_by_side() -> None:
    fixed = {"place": "plain", "color": "green", "tint": "white", "style": None, "tilt": 0.0}
    scene = world.sample_scene(np.random.default_rng(0), ["dice"], count=2, **fixed)
    white = (world.render(scene).min(axis=2) > 100).any(axis=0)
    runs = np.flatnonzero(np.diff(np.concatenate([[0], white.astype(int), [0]])))
    assert len(runs) == 4, "two runs of columns with something white"
    assert min(runs[1] - runs[0], runs[3] - runs[2]) > 20


def test_styles_look_like_themselves() -> None:
    scenes = world.scenes_of(world.SUBSET[::8], place="meadow", style=None, tint=None)
    plain = [world.render(s).astype(float) for s in scenes]
    styled = {
        style: [world.render(dataclasses.replace(s, style=style)).astype(float) for s in scenes]
        for style in world.STYLES
    }
    for before, after in zip(plain, styled["grayscale"], strict=True):
        assert np.ptp(after, axis=2).max() == 0
        assert np.abs(after[..., 0] - before @ LUMA).max() <= 1
    for after in styled["sepia"]:
        assert (after[..., 0] > after[..., 2]).all()
    for after in styled["sketch"]:
        assert np.ptp(after, axis=2).max() < 12
        assert after.mean() > 170
        assert after.min() < 110
    for before, after in zip(plain, styled["watercolor"], strict=True):
        assert after[0].mean() > 240
        assert after.mean() > before.mean() + 10
    for after in styled["mosaic"]:
        stones = after.reshape(16, 4, 16, 4, 3)[:, 1:, :, 1:]
        assert np.ptp(stones, axis=(1, 3)).max() == 0
    for before, after in zip(plain, styled["cartoon"], strict=True):
        assert (after.max(axis=2) < 70).mean() > (before.max(axis=2) < 70).mean()
        assert np.ptp(after, axis=2).mean() > np.ptp(before, axis=2).mean()


def test_references_are_untouched_objects_in_varied_surroundings() -> None:
    scenes = world.reference_scenes("teapot", 12, seed=3)
    assert scenes == world.reference_scenes("teapot", 12, seed=3)
    assert scenes != world.reference_scenes("teapot", 12, seed=4)
    assert {s.object for s in scenes} == {"teapot"}
    assert {(s.tint, s.style, s.count) for s in scenes} == {(None, None, 1)}
    assert [s.place == "plain" for s in scenes] == [i % 3 == 0 for i in range(12)]
    assert len({s.place for s in scenes if s.place in world.PLACES}) == 4
    pictures = world.render_all(scenes[:4], size=96)
    assert [p.size for p in pictures] == [(96, 96)] * 4
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        world.reference_scenes("teapot", 0)


@pytest.mark.parametrize("size", [0, 15, 4096])
def test_sizes_out_of_range_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be in 16..1024 pixels, got {size}"):
        world.render(PLAIN, size)
