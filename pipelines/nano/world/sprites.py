"""The cut-out objects of the nano world: names, pictures, and the subset the diffusion model learns."""

from __future__ import annotations

import csv
import difflib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .colors import COLORS, LUMA
from .painting import Canvas, Coverage

FOLDER = Path(__file__).parents[1] / "objects"
LONGEST = 128
"""Longest side of the stored pictures, in pixels."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object; ``split`` is "train" or "held-out", and held-out objects never enter any training."""

    name: str
    category: str
    split: str
    path: Path


@cache
def _catalog() -> dict[str, ObjectInfo]:
    with (FOLDER / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: ObjectInfo(row["name"], row["category"], row["split"], FOLDER / row["file"]) for row in rows}


def objects(split: str = "train") -> list[ObjectInfo]:
    """The objects of ``split`` in the order of ``objects.csv``: 350 train, 23 held-out.

    Raises:
        ValueError: ``split`` is none of the three words.
    """
    if split not in ("train", "held-out", "all"):
        raise ValueError(f'split must be "train", "held-out" or "all", got {split!r}')
    return [info for info in _catalog().values() if split in ("all", info.split)]


def find_object(name: str) -> ObjectInfo:
    """The object called ``name``.

    Raises:
        ValueError: there is no such object; the message offers the nearest names.
    """
    try:
        return _catalog()[name]
    except KeyError:
        near = difflib.get_close_matches(name, _catalog(), n=3)
        hint = f"; nearest: {', '.join(near)}" if near else "; world.objects('all') lists them"
        raise ValueError(f"the nano world has no object named {name!r}{hint}") from None


@cache
def aspect(name: str) -> tuple[float, float]:
    """Width and height of an object's picture, as shares of its longest side."""
    width, height = _original(name).size
    return width / max(width, height), height / max(width, height)


@cache
def _original(name: str) -> Image.Image:
    """The stored picture, cut to what is visible, with colours premultiplied by opacity."""
    with Image.open(find_object(name).path) as file:
        image = file.convert("RGBA")
    rows, columns = np.nonzero(np.asarray(image.getchannel("A")) > 8)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return image.crop(box).convert("RGBa")


@cache
def _level(name: str, longest: int) -> Image.Image:
    """The picture scaled down to ``longest`` pixels, with an empty rim so that rotated edges stay smooth."""
    original = _original(name)
    ratio = longest / max(original.size)
    size = (max(round(original.width * ratio), 1), max(round(original.height * ratio), 1))
    padded = Image.new("RGBa", (size[0] + 4, size[1] + 4))
    padded.paste(original.resize(size, Image.Resampling.BICUBIC), (2, 2))
    return padded


def draw_object(
    name: str, size: int, *, scale: float, x: float, y: float, tilt: float, flip: bool
) -> tuple[Canvas, Coverage]:
    """One object on an empty canvas of ``size`` pixels.

    Args:
        scale: its longest side, in frames.
        x, y: its centre, in frames.
        tilt: clockwise turn, in degrees.
        flip: mirrored left to right, before it is turned.

    Returns:
        Colours premultiplied by opacity [size, size, 3], and opacity [size, size], both in [0, 1].
    """
    wanted = scale * size
    # Levels grow in steps of a fifth: the affine map below then never shrinks enough to alias.
    longest = LONGEST
    while longest > 16 and longest / 1.2 >= wanted:
        longest = math.ceil(longest / 1.2)
    picture = _level(name, longest)
    ratio = longest / wanted
    cosine, sine = math.cos(math.radians(tilt)) * ratio, math.sin(math.radians(tilt)) * ratio
    mirror = -1 if flip else 1
    across, down = (mirror * cosine, mirror * sine), (-sine, cosine)
    matrix = (
        *across, picture.width / 2 - (across[0] * x + across[1] * y) * size,
        *down, picture.height / 2 - (down[0] * x + down[1] * y) * size,
    )  # fmt: skip
    warped = picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    pixels = np.asarray(warped, dtype=np.float32) / 255
    opacity = pixels[..., 3]
    return np.minimum(pixels[..., :3], opacity[..., None]), opacity


def tint_object(colors: Canvas, opacity: Coverage, tint: str) -> Canvas:
    """Recolour an object by its luminance: shading and outlines stay, hue and saturation become ``tint``'s.

    Luminance is first stretched over the object's own range, so that dark objects take a bright tint, too.

    Args:
        colors: premultiplied colours [size, size, 3]; opacity: [size, size]; tint: a name of `COLORS`.

    Returns:
        Premultiplied colours [size, size, 3].
    """
    luma = colors @ LUMA
    solid = opacity > 0.9
    if not solid.any():
        return colors
    values = luma[solid]
    middle = float(values.mean())
    spread = max(float(values.std()), 0.04)
    gain = min(0.20 / spread, 1.6)
    shade = np.clip((luma - middle * opacity) * gain, -0.42 * opacity, 0.42 * opacity)
    target = COLORS[tint]
    # Shadows are the tint darkened; lights go towards white.
    dark = np.minimum(shade, 0)[..., None] * target * 1.7
    light = np.maximum(shade, 0)[..., None] * (1 - target) * 1.7
    return target * opacity[..., None] + dark + light


SUBSET: tuple[str, ...] = (
    # animals
    "bird", "camel", "cat", "cow", "crocodile", "dog", "dolphin", "dragon", "duck", "elephant", "fish",
    "gorilla", "honeybee", "horse", "kangaroo", "koala", "ladybug", "monkey", "parrot", "peacock", "pig",
    "rabbit", "rooster", "sauropod", "shark", "sheep", "shrimp", "snake", "spider", "squid", "swan", "whale",
    # food
    "banana", "beer mug", "birthday cake", "broccoli", "carrot", "cheese", "cherries", "croissant",
    "doughnut", "french fries", "grapes", "honey pot", "hot dog", "ice cream", "lemon", "lollipop", "pear",
    "popcorn", "pretzel", "sandwich", "tomato", "wine glass",
    # tools
    "anchor", "axe", "bucket", "camera", "candle", "fire extinguisher", "hourglass", "key", "ladder", "lock",
    "magnet", "pencil", "television",
    # household
    "amphora", "balloon", "basket", "bathtub", "bed", "chair", "diamond", "dice", "gift", "nesting dolls",
    "tent",
    # vehicles
    "airplane", "ambulance", "bicycle", "car", "fire engine", "flying saucer", "kite", "motor scooter",
    "ship", "shopping cart", "taxi", "train", "truck",
    # clothing
    "cap", "dress", "gloves", "graduation cap", "handbag", "hiking boot", "jeans", "ribbon", "ring",
    "sun hat",
    # buildings
    "church", "factory", "ferris wheel", "house", "tokyo tower", "volcano",
    # plants
    "lotus", "maple leaf", "palm tree", "pine tree", "potted plant", "rose", "shamrock",
    # sport
    "american football", "dartboard", "lifebuoy", "soccer ball", "sports medal",
    # instruments
    "accordion", "bell", "drum", "microphone", "radio", "trumpet",
    # characters
    "alien", "alien monster", "snowman",
)  # fmt: skip
"""The 128 training objects the text-to-image model learns by name; the autoencoder and nano-clip see all 350.

Chosen by eye at 40 pixels: iconic, of every category, and no two similar (one of the trains, one of the round
red fruits, neither rat nor mouse ...). Objects similar to held-out ones are included (duck and swan for
penguin, squid for octopus, amphora for teapot, truck for bus and tractor), so that the model's prior helps
where users personalize.
"""
