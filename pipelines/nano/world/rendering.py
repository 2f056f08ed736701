"""Paints scenes of the nano world: place or ground, shadow, object, style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from .colors import COLORS
from .grounds import PATTERNS, paint_ground
from .painting import Canvas, Coverage, grid
from .places import PLACES, sea_front
from .scenes import FLOATING, Scene, sample_scene
from .sprites import draw_object, tint_object
from .styles import STYLES


def render(scene: Scene, size: int = 64) -> UInt8[np.ndarray, "size size 3"]:
    """The picture of ``scene``, RGB bytes [size, size, 3]; the same scene and size give the same bytes.

    Raises:
        ValueError: ``size`` is not in 16..1024 pixels.
    """
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be in 16..1024 pixels, got {size}")
    rng = np.random.default_rng(scene.seed)
    if scene.is_ground:
        canvas = paint_ground(scene.place, str(scene.color), size, rng)
    else:
        canvas = PLACES[scene.place](size, rng)
    colors, opacity = _objects(scene, size)
    if scene.is_ground:
        _drop_shadow(canvas, opacity)
    elif scene.place not in FLOATING:
        _contact_shadow(canvas, opacity)
    canvas *= 1 - opacity[..., None]
    canvas += colors
    if scene.place == "sea":
        sea_front(canvas, rng)
    picture = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return STYLES[scene.style](picture, rng) if scene.style else picture


def render_all(scenes: Sequence[Scene], size: int = 64) -> list[Image.Image]:
    """The pictures of ``scenes`` as PIL images."""
    return [Image.fromarray(render(scene, size)) for scene in scenes]


def _objects(scene: Scene, size: int) -> tuple[Canvas, Coverage]:
    """The object, or two side by side, with premultiplied colours, on an empty canvas."""
    if scene.count == 1:
        colors, opacity = draw_object(
            scene.object, size, scale=scene.scale, x=scene.x, y=scene.y, tilt=scene.tilt, flip=scene.flip
        )
    else:
        pair = [
            draw_object(
                scene.object, size, scale=scene.scale, x=scene.x + side * 0.245, y=scene.y,
                tilt=side * scene.tilt, flip=scene.flip,
            )
            for side in (-1, 1)
        ]  # fmt: skip
        (colors, opacity), (second, cover) = pair
        colors = colors * (1 - cover[..., None]) + second
        opacity = opacity * (1 - cover) + cover
    if scene.tint:
        colors = tint_object(colors, opacity, scene.tint)
    return colors, opacity


def _contact_shadow(canvas: Canvas, opacity: Coverage) -> None:
    """Darken the floor under an object in place: a soft ellipse at its foot."""
    size = len(canvas)
    rows, columns = np.nonzero(opacity > 0.5)
    if not len(rows):
        return
    foot = (int(rows.max()) + 0.5) / size
    left, right = int(columns.min()) / size, (int(columns.max()) + 1) / size
    gx, gy = grid(size)
    reach = np.square((gx - (left + right) / 2) / (0.42 * (right - left))) + np.square((gy - foot + 0.015) / 0.045)
    canvas *= (1 - 0.42 * np.exp(-reach))[..., None]


def _drop_shadow(canvas: Canvas, opacity: Coverage) -> None:
    """Darken a ground a little below and to the right of an object in place."""
    size = len(canvas)
    shift = max(round(0.025 * size), 1)
    moved = np.zeros_like(opacity)
    moved[shift:, shift:] = opacity[:-shift, :-shift]
    blurred = Image.fromarray((moved * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.03 * size))
    canvas *= (1 - np.asarray(blurred, dtype=np.float32) * np.float32(0.3 / 255))[..., None]


def reference_scenes(name: str, count: int = 4, *, seed: int = 0) -> list[Scene]:
    """Scenes to personalize on or to compare with: one untinted object, no style, varied surroundings.

    They go round plain ground, place and pattern; the surroundings differ while there are enough of them.

    Args:
        name: any object, held-out ones included.
        count: how many scenes.
        seed: other seeds give other scenes.

    Raises:
        ValueError: no such object, or ``count`` is less than one.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    rng = np.random.default_rng(seed)
    cycles = [iter(rng.permutation(list(kinds)).tolist() * count) for kinds in (COLORS, PLACES, PATTERNS)]
    scenes = []
    for i in range(count):
        choice = next(cycles[i % 3])
        surroundings = {"place": "plain", "color": choice} if i % 3 == 0 else {"place": choice}
        scenes.append(sample_scene(rng, [name], tint=None, count=1, style=None, **surroundings))
    return scenes
