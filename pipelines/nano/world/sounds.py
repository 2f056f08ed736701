"""Synthesised sounds of the nano world's objects, determined by the same factors as their pictures.

Size determines pitch (big is low), count determines repetitions, tint determines brightness. Each object has two ways
to sound, which the picture does not show. Clips are mono at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .captions import plural, with_article
from .colors import COLORS, LUMA

RATE = 16_000
SAMPLES = 40_960
"""2.56 seconds, 256 frames of 160 samples."""
SMALLEST, BIGGEST = 0.35, 0.9
"""Scales of an object, in frames, over which the pitch changes by an octave and a half."""
PEAK = 0.7

Wave = Float[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What varies between clips of one object."""

    pitch: float
    """Factor applied to the object's own pitch."""
    variant: int
    """0 or 1: which of its two ways to sound."""
    rng: np.random.Generator
    """Source of small differences between clips."""

    def around(self, value: float, spread: float = 0.04) -> float:
        """``value`` with a small random deviation."""
        return float(value * np.exp(self.rng.normal(0, spread)))


def render_sound(
    name: str,
    *,
    scale: float = 0.6,
    count: int = 1,
    tint: str | None = None,
    variant: int = 0,
    seed: int = 0,
) -> Wave:
    """The clip of an object, float32 [40960] in [-1, 1]; the same arguments give the same samples.

    Args:
        name: one of `SOUNDING`.
        scale: of the object in its picture, in frames.
        count: how many times it sounds, 1 or 2.
        tint: colour of the object: light ones sound brighter.
        variant: 0 or 1.
        seed: of the small differences.

    Raises:
        ValueError: the object has no sound, or a value is out of range.
    """
    if name not in SOUNDING:
        raise ValueError(f"{name!r} has no sound in the nano world; one of {', '.join(SOUNDING)} has")
    if count not in (1, 2) or variant not in (0, 1):
        raise ValueError(f"count must be 1 or 2 and variant 0 or 1, got {count} and {variant}")
    if tint is not None and tint not in COLORS:
        raise ValueError(f"tint must be one of {', '.join(COLORS)}, got {tint!r}")
    rng = np.random.default_rng([seed, variant, list(SOUNDING).index(name)])
    voice = Voice(pitch=pitch_of(scale), variant=variant, rng=rng)
    length = SAMPLES * 9 // 10 if count == 1 else SAMPLES * 2 // 5
    wave = np.zeros(SAMPLES)
    for turn in range(count):
        once = SOUNDING[name](voice, length)
        start = turn * SAMPLES // 2 + int(rng.integers(SAMPLES // 40))
        wave[start : start + length] += fade(once)[: SAMPLES - start]
    wave = tilted(wave, brightness_of(tint))
    return (wave / np.abs(wave).max() * PEAK).astype(np.float32)


def sound_caption(name: str, *, count: int = 1, scale: float = 0.6, variant: int = 0) -> str:
    """Caption of a clip: "the low sound of two bells, struck"."""
    size = "high " if scale < 0.5 else "low " if scale > 0.75 else ""
    who = with_article(name) if count == 1 else f"two {plural(name)}"
    return f"the {size}sound of {who}, {VARIANTS[name][variant]}"


def pitch_of(scale: float) -> float:
    """Pitch factor at a scale: 1 in the middle, falling by an octave and a half from `SMALLEST` to `BIGGEST`.

    Raises:
        ValueError: the scale is out of range.
    """
    if not SMALLEST <= scale <= BIGGEST:
        raise ValueError(f"scale must be in {SMALLEST}..{BIGGEST} frames for a sound, got {scale}")
    return float(2 ** (1.5 * (0.5 - (scale - SMALLEST) / (BIGGEST - SMALLEST))))


def brightness_of(tint: str | None) -> float:
    """Spectral tilt in dB per octave: positive for light colours, negative for dark ones."""
    if tint is None:
        return 0.0
    return 8 * float(COLORS[tint] @ LUMA) - 4


def tilted(wave: Wave, slope: float) -> Wave:
    """``wave`` with a spectral tilt of ``slope`` dB per octave around 1 kHz."""
    spectrum = np.fft.rfft(wave)
    octaves = np.log2(np.fft.rfftfreq(len(wave), 1 / RATE).clip(min=50) / 1000)
    return np.fft.irfft(spectrum * 10 ** (slope * octaves / 20), len(wave))


def fade(wave: Wave, samples: int = 160) -> Wave:
    """``wave`` faded in and out over ``samples``, to avoid clicks."""
    ramp = np.minimum(1, np.arange(len(wave)) / samples)
    return wave * ramp * ramp[::-1]


def clock(length: int) -> Wave:
    """Seconds from the start."""
    return np.arange(length) / RATE


def tone(frequency: float | Wave, partials: dict[float, float], length: int) -> Wave:
    """A sum of sines at multiples of ``frequency`` in Hz, which may glide, with the amplitudes of ``partials``."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, length)) / RATE
    highest = np.max(frequency)
    return sum((a * np.sin(m * phase) for m, a in partials.items() if m * highest < RATE / 2), np.zeros(length))


def harmonics(count: int, fall: float) -> dict[float, float]:
    """Whole multiples whose amplitudes fall with the ``fall``-th power."""
    return {float(k): k**-fall for k in range(1, count + 1)}


def noise(voice: Voice, low: float, high: float, length: int) -> Wave:
    """Noise between two frequencies in Hz, at a root mean square of one."""
    spectrum = np.fft.rfft(voice.rng.normal(size=length))
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    wave = np.fft.irfft(spectrum * ((frequency >= low) & (frequency < min(high, RATE / 2))), length)
    return wave / max(np.sqrt(np.square(wave).mean()), 1e-9)


def decay(length: int, seconds: float) -> Wave:
    """Falls to 1/e in ``seconds``."""
    return np.exp(-clock(length) / seconds)


def swell(length: int, rise: float = 0.15, fall: float = 0.3) -> Wave:
    """An envelope that rises over the first ``rise`` of the length and falls over the last ``fall``."""
    place = np.linspace(0, 1, length)
    return np.minimum(1, place / rise) * np.minimum(1, (1 - place) / fall)


def repeated(once: Callable[[int], Wave], every: float, length: int) -> Wave:
    """``once(samples)`` repeated ``every`` so many seconds."""
    out, step = np.zeros(length), max(int(every * RATE), 1)
    for start in range(0, length, step):
        piece = once(min(step, length - start))
        out[start : start + len(piece)] += piece
    return out


BELL = {0.5: 0.4, 1.0: 1.0, 1.2: 0.6, 1.5: 0.4, 2.0: 0.7, 2.67: 0.4, 3.0: 0.3, 4.1: 0.2}
"""Partials of a church bell relative to its prime."""


def bell(voice: Voice, length: int) -> Wave:
    frequency = voice.around(520) * voice.pitch
    if voice.variant:  # a hand bell, shaken
        return repeated(lambda n: tone(2 * frequency, BELL, n) * decay(n, 0.12), 0.16, length)
    return tone(frequency, BELL, length) * decay(length, 0.7)


def drum(voice: Voice, length: int) -> Wave:
    frequency = voice.around(110) * voice.pitch

    def stroke(n: int) -> Wave:
        glide = frequency * (1 + 0.8 * decay(n, 0.03))
        return tone(glide, {1.0: 1.0, 1.59: 0.5, 2.14: 0.3}, n) * decay(n, 0.16) + 0.3 * noise(
            voice, 300 * voice.pitch, 3000 * voice.pitch, n
        ) * decay(n, 0.02)

    return repeated(stroke, 0.12, length) if voice.variant else stroke(length)


def bird(voice: Voice, length: int) -> Wave:
    frequency = voice.around(2400) * voice.pitch

    every, long = (0.45, 0.36) if voice.variant else (0.2, 0.12)

    def chirp(n: int) -> Wave:
        short = min(n, int(long * RATE))
        time = clock(short)
        bend = 1 + 0.3 * np.sin(2 * np.pi * 22 * time) if voice.variant else 1.35 - 3.5 * time
        return np.pad(tone(frequency * bend, {1.0: 1.0, 2.0: 0.2}, short) * swell(short), (0, n - short))

    return repeated(chirp, every, length)


def cow(voice: Voice, length: int) -> Wave:
    place = np.linspace(0, 1, length)
    bend = 1 + 0.25 * np.sin(np.pi * place) if voice.variant else 1.15 - 0.3 * place
    return _throat(voice, voice.around(150) * bend, ((500, 250), (1000, 350)), length) * swell(length)


def dog(voice: Voice, length: int) -> Wave:
    frequency = voice.around(330)

    def bark(n: int) -> Wave:
        short = min(n, int(0.18 * RATE))
        bend = 1.3 - 0.5 * np.linspace(0, 1, short)
        wave = _throat(voice, frequency * bend, ((800, 400), (1600, 600)), short) + 0.15 * noise(
            voice, 600, 4000, short
        )
        return np.pad(wave * swell(short, 0.1, 0.5), (0, n - short))

    if voice.variant:  # a howl
        bend = 1 + 0.4 * np.sin(np.pi * np.linspace(0, 1, length) ** 0.7)
        return tone(frequency * voice.pitch * bend, harmonics(5, 2), length) * swell(length)
    return repeated(bark, 0.36, length)


def cat(voice: Voice, length: int) -> Wave:
    frequency = voice.around(520)
    if voice.variant:  # purring
        beat = 0.5 + 0.5 * np.sin(2 * np.pi * 24 * clock(length))
        return tone(frequency / 5 * voice.pitch, harmonics(12, 0.8), length) * beat**3 * swell(length)
    bend = 0.8 + 0.6 * np.sin(np.pi * np.linspace(0, 1, length) ** 0.6)
    return _throat(voice, frequency * bend, ((900, 300), (2300, 500)), length) * swell(length)


def duck(voice: Voice, length: int) -> Wave:
    frequency = voice.around(240)
    every = 0.18 if voice.variant else 0.42

    def quack(n: int) -> Wave:
        short = min(n, int(0.14 * RATE))
        wave = _throat(voice, frequency * np.linspace(1.1, 0.85, short), ((1300, 400), (2600, 600)), short)
        return np.pad(wave * swell(short, 0.05, 0.4), (0, n - short))

    return repeated(quack, every, length)


def trumpet(voice: Voice, length: int) -> Wave:
    frequency = voice.around(440) * voice.pitch
    steps = (1.0, 1.0, 1.25, 1.5) if voice.variant else (1.0,)
    parts = np.array_split(np.zeros(length), len(steps))
    notes = [
        tone(frequency * step * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * clock(len(part)))), harmonics(12, 0.7), len(part))
        * swell(len(part), 0.08, 0.15)
        for step, part in zip(steps, parts, strict=True)
    ]
    return np.concatenate(notes)


def train(voice: Voice, length: int) -> Wave:
    frequency = voice.around(330) * voice.pitch
    if voice.variant:  # its whistle
        chord = sum((tone(frequency * m, harmonics(6, 1.2), length) for m in (1.0, 1.19, 1.41)), np.zeros(length))
        return (chord + 0.3 * noise(voice, 500, 5000, length)) * swell(length, 0.1, 0.2)
    puff = repeated(lambda n: decay(n, 0.05), 0.17, length)
    return (noise(voice, 120 * voice.pitch, 2200 * voice.pitch, length)) * puff


def ambulance(voice: Voice, length: int) -> Wave:
    time = clock(length)
    wobble = np.sin(2 * np.pi * 1.6 * time)
    bend = 1 + 0.35 * wobble if voice.variant else np.where(wobble > 0, 1.33, 1.0)
    return tone(voice.around(700) * voice.pitch * bend, harmonics(7, 1.0), length)


def mantelpiece_clock(voice: Voice, length: int) -> Wave:
    frequency = voice.around(1500) * voice.pitch
    if voice.variant:  # striking the hour
        return repeated(lambda n: tone(frequency / 3, BELL, n) * decay(n, 0.35), 0.55, length)

    def tick(n: int) -> Wave:
        half = n // 2
        hits = [tone(frequency * m, {1.0: 1.0, 2.7: 0.6}, half) * decay(half, 0.012) for m in (1.0, 0.8)]
        return np.concatenate(hits)

    return repeated(tick, 0.5, length)


def mobile_phone(voice: Voice, length: int) -> Wave:
    frequency = voice.around(900) * voice.pitch
    if voice.variant:  # buzzing on a table
        on = np.where((clock(length) % 0.6) < 0.4, 1.0, 0.0)
        return tone(frequency / 5.5, harmonics(15, 0.5), length) * on
    time = clock(length)
    bend = np.where((time * 20).astype(int) % 2, 1.25, 1.0)
    return tone(frequency * bend, harmonics(3, 1.5), length) * np.where((time % 0.8) < 0.5, 1.0, 0.0)


def car(voice: Voice, length: int) -> Wave:
    place = np.linspace(0, 1, length)
    frequency = voice.around(65) * voice.pitch
    if voice.variant:  # its horn
        return (
            tone(4.5 * frequency, harmonics(9, 0.6), length) + tone(5.6 * frequency, harmonics(9, 0.6), length)
        ) * swell(length, 0.03, 0.05)
    rev = tone(frequency * (1 + 0.7 * place), harmonics(25, 0.7), length)
    return rev + 0.4 * noise(voice, 60, 900, length)


def wind_chime(voice: Voice, length: int) -> Wave:
    out, base = np.zeros(length), voice.around(1300) * voice.pitch
    every, ring, scale = (0.07, 0.1, (1.5, 1.682, 1.888, 2.245)) if voice.variant else (0.3, 0.5, (1.0, 1.189, 1.335))
    for start in range(0, length, int(every * RATE)):
        n = length - start
        note = base * scale[int(voice.rng.integers(len(scale)))]
        out[start:] += tone(note, {1.0: 1.0, 2.76: 0.4, 5.4: 0.15}, n) * decay(n, ring) * voice.rng.uniform(0.4, 1)
    return out


def honeybee(voice: Voice, length: int) -> Wave:
    time = clock(length)
    frequency = voice.around(230) * voice.pitch
    if voice.variant:  # flying past
        return tone(frequency * (1.15 - 0.3 * np.linspace(0, 1, length)), harmonics(14, 0.7), length) * swell(
            length, 0.5, 0.5
        )
    wobble = 1 + 0.06 * np.sin(2 * np.pi * 7 * time)
    return tone(frequency * wobble, harmonics(14, 0.7), length)


def fountain(voice: Voice, length: int) -> Wave:
    rush = noise(voice, 500 * voice.pitch, 5000 * voice.pitch, length)
    if not voice.variant:
        return rush
    out = 0.15 * rush  # dripping
    for _ in range(max(length * 9 // RATE, 2)):
        n = int(0.09 * RATE)
        start = int(voice.rng.integers(max(length - n, 1)))
        n = min(n, length - start)
        glide = voice.around(800, 0.15) * voice.pitch * (1 + 4 * clock(n))
        out[start : start + n] += 2.5 * tone(glide, {1.0: 1.0}, n) * decay(n, 0.025)
    return out


def _throat(voice: Voice, frequency: float | Wave, formants: tuple[tuple[float, float], ...], length: int) -> Wave:
    """A buzz of ``frequency`` times the voice's pitch, shaped by resonances (centre and width in Hz)."""
    spectrum = np.fft.rfft(tone(frequency * voice.pitch, harmonics(30, 0.6), length))
    bins = np.fft.rfftfreq(length, 1 / RATE)
    gain = 0.05 + sum(np.exp(-np.square((bins - centre) / width) / 2) for centre, width in formants)
    return np.fft.irfft(spectrum * gain, length)


SOUNDING: dict[str, Callable[[Voice, int], Wave]] = {
    "bell": bell, "drum": drum, "bird": bird, "cow": cow, "dog": dog, "cat": cat, "duck": duck, "trumpet": trumpet,
    "train": train, "ambulance": ambulance, "mantelpiece clock": mantelpiece_clock, "mobile phone": mobile_phone,
    "car": car, "wind chime": wind_chime, "honeybee": honeybee, "fountain": fountain,
}  # fmt: skip
"""Objects with sounds, and the functions that synthesise them."""

VARIANTS: dict[str, tuple[str, str]] = {
    "bell": ("struck", "shaken"), "drum": ("one beat", "a roll"), "bird": ("chirping", "trilling"),
    "cow": ("mooing", "calling"), "dog": ("barking", "howling"), "cat": ("meowing", "purring"),
    "duck": ("quacking", "chattering"), "trumpet": ("one note", "a fanfare"), "train": ("puffing", "whistling"),
    "ambulance": ("two tones", "wailing"), "mantelpiece clock": ("ticking", "striking"),
    "mobile phone": ("ringing", "buzzing"), "car": ("revving", "honking"), "wind chime": ("swaying", "tinkling"),
    "honeybee": ("humming", "flying past"), "fountain": ("rushing", "dripping"),
}  # fmt: skip
"""Words for an object's two ways to sound."""
