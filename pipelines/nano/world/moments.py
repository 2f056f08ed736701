"""Moments of the nano world: a picture and a sound of one object that share hidden factors.

Size determines pitch, count determines repetitions, tint determines brightness. Which of an object's two ways to sound
is heard cannot be seen.

>>> moment = sample_moment(np.random.default_rng(0), name="bell", count=1, variant=0)
>>> moment.picture().shape, moment.sound().shape
((64, 64, 3), (40960,))
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from mappers.files import replacing

from .captions import plural, where, with_article
from .colors import COLORS
from .rendering import render
from .scenes import Scene, sample_scene
from .sounds import BIGGEST, SAMPLES, SMALLEST, SOUNDING, VARIANTS, Wave, brightness_of, render_sound, sound_caption
from .sprites import aspect

NAMES: tuple[str, ...] = tuple(SOUNDING)
FACTORS = 3
"""Number of hidden factors of a moment, see `Moment.factors`."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A picture and a sound of the same object."""

    scene: Scene
    variant: int
    """0 or 1: which of the object's two ways to sound."""
    seed: int
    """Seed of the small differences between sounds of one kind."""

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.scene.object

    @property
    def size(self) -> int:
        """0 small, 1 medium, 2 big, as in captions."""
        return int(self.scene.scale >= 0.5) + int(self.scene.scale > 0.75)

    @property
    def sound_class(self) -> int:
        """Index of object and variant, 0..31."""
        return 2 * NAMES.index(self.name) + self.variant

    @property
    def factors(self) -> tuple[float, float, float]:
        """Size, count and brightness, each in about -1..1: what picture and sound share besides the object."""
        size = 2 * (self.scene.scale - SMALLEST) / (BIGGEST - SMALLEST) - 1
        return size, 2.0 * self.scene.count - 3, brightness_of(self.scene.tint) / 4

    def picture(self) -> UInt8[np.ndarray, "64 64 3"]:
        """RGB bytes."""
        return render(self.scene)

    def sound(self) -> Wave:
        """float32 [40960] at 16 kHz."""
        scene = self.scene
        return render_sound(
            self.name, scale=scene.scale, count=scene.count, tint=scene.tint, variant=self.variant, seed=self.seed
        )

    def sound_caption(self) -> str:
        """The full caption of the sound: "the low sound of two bells, struck"."""
        return sound_caption(self.name, count=self.scene.count, scale=self.scene.scale, variant=self.variant)

    def picture_caption(self) -> str:
        """The full caption of the picture: "two small red bells on the beach"."""
        words = [("small", "", "big")[self.size], self.scene.tint or ""]
        what = " ".join(word for word in (*words, self.name if self.scene.count == 1 else plural(self.name)) if word)
        who = with_article(what) if self.scene.count == 1 else f"two {what}"
        return f"{who} {where(self.scene.place, self.scene.color)}"


def sample_moment(
    rng: np.random.Generator,
    *,
    name: str | None = None,
    count: int | None = None,
    variant: int | None = None,
    scale: float | None = None,
    tint: str | None = None,
    style: str | None = None,
) -> Moment:
    """Draw a moment: 30 % pairs, 40 % tinted, sizes uniform over the range that determines pitch.

    Fixing one value leaves the other random draws unchanged. Two objects must fit side by side, so pairs of wide
    objects are small.

    Args:
        rng: source of every draw.
        name: one of `NAMES`.
        count: 1 or 2.
        variant: 0 or 1.
        scale: of the object, in frames.
        tint: colour of the object.
        style: of the picture; none is drawn.
    """
    drawn = NAMES[int(rng.integers(len(NAMES)))]
    name = drawn if name is None else name
    chance = rng.random(4)
    if count is None:
        count = 2 if chance[0] < 0.3 else 1
    color = list(COLORS)[int(rng.integers(len(COLORS)))]
    if tint is None and chance[1] < 0.4:
        tint = color
    if variant is None:
        variant = int(chance[2] < 0.5)
    if scale is None:
        scale = SMALLEST + float(chance[3]) * (_largest_scale(name, count) - SMALLEST)
    tilt = float(rng.uniform(-10, 10))
    fixed: dict[str, Any] = {"scale": scale, "count": count, "tint": tint, "style": style, "tilt": tilt}
    drift = max(0.48 - scale / 2, 0) / 2 if count == 1 else 0.0
    fixed["x"], fixed["y"] = (float(0.5 + drift * rng.uniform(-1, 1)) for _ in range(2))
    scene = sample_scene(rng, [name], **fixed)
    return Moment(scene=scene, variant=variant, seed=int(rng.integers(2**31)))


def _largest_scale(name: str, count: int) -> float:
    """The largest scale at which one object, or two side by side, fit into the frame."""
    width, height = aspect(name)
    turn = math.radians(10)
    across, down = math.hypot(width, height * math.sin(turn)), math.hypot(width * math.sin(turn), height)
    return min(BIGGEST, 0.47 / across, 0.9 / down) if count == 2 else min(BIGGEST, 0.94 / across, 0.94 / down)


@dataclass(frozen=True)
class SoundCaption:
    """A caption of a sound and what it states; None for what it does not state."""

    text: str
    name: str | None = None
    count: int | None = None
    size: int | None = None
    variant: int | None = None

    def describes(self, moment: Moment) -> bool:
        """Whether the caption is true of ``moment``."""
        said = ((self.name, moment.name), (self.count, moment.scene.count), (self.size, moment.size),
                (self.variant, moment.variant))  # fmt: skip
        return all(wanted is None or wanted == found for wanted, found in said)


def sample_caption(moment: Moment, rng: np.random.Generator) -> SoundCaption:
    """A random caption: 67 % state everything, 10 % object and way to sound, 20 % the object, 3 % nothing."""
    name, variant, chance = moment.name, moment.variant, rng.random()
    if chance < 0.67:
        return SoundCaption(moment.sound_caption(), name, moment.scene.count, moment.size, variant)
    if chance < 0.77:
        return SoundCaption(f"{with_article(name)}, {VARIANTS[name][variant]}", name, variant=variant)
    if chance < 0.87:
        return SoundCaption(f"the sound of {with_article(name)}", name)
    return SoundCaption(with_article(name), name) if chance < 0.97 else SoundCaption("")


def all_captions() -> list[str]:
    """All captions of sounds, to train a tokenizer on."""
    full = [
        sound_caption(name, count=count, scale=scale, variant=variant)
        for name in NAMES
        for count in (1, 2)
        for scale in (0.4, 0.6, 0.8)
        for variant in (0, 1)
    ]
    loose = [f"{with_article(name)}, {way}" for name in NAMES for way in VARIANTS[name]]
    return full + loose + [with_article(name) for name in NAMES]


def numbered_moment(seed: int, index: int) -> Moment:
    """The ``index``-th moment of an endless list for each ``seed``; objects and variants take turns."""
    rng = np.random.default_rng([seed, index])
    return sample_moment(rng, name=NAMES[index % len(NAMES)], variant=index // len(NAMES) % 2)


class Clips:
    """Moments with their sounds, rendered once and stored on disk, because rendering takes longer than a training step.

    Args:
        folder: of the stored sounds; created when needed. None stores nothing.
        count: number of moments.
        seed: of the list of moments, see `numbered_moment`.
    """

    def __init__(self, folder: Path | None, count: int, seed: int):
        self.moments = [numbered_moment(seed, index) for index in range(count)]
        waves = _stored(folder / f"{seed}-{count}.safetensors") if folder else None
        if waves is None:
            rows = tqdm(self.moments, unit="clip", desc="rendering sounds", disable=None)
            waves = torch.stack(
                [torch.from_numpy((moment.sound() * 32767).round().astype(np.int16)) for moment in rows]
            )
            if folder:
                with replacing(folder / f"{seed}-{count}.safetensors") as temporary:
                    save_file({"waves": waves}, temporary, {"samples": json.dumps(SAMPLES)})
        self.stored: Int16[Tensor, "n samples"] = waves

    def __len__(self) -> int:
        return len(self.moments)

    def waves(self, rows: Any) -> Float[Tensor, "*b samples"]:
        """Sounds of ``rows``, in [-1, 1] at 16 kHz."""
        return self.stored[rows].float() / 32767


def _stored(path: Path) -> Tensor | None:
    """The waveforms of an earlier run; None where there is no file or a damaged one."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("waves")
    except SafetensorError:
        return None
