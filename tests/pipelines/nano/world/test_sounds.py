"""Sounds of the nano world: what a picture shows can be heard."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.nano import world
from pipelines.nano.world.sounds import (
    BIGGEST,
    PEAK,
    RATE,
    SAMPLES,
    SMALLEST,
    SOUNDING,
    VARIANTS,
    brightness_of,
    pitch_of,
    render_sound,
    sound_caption,
    tone,
)

NAMES = tuple(SOUNDING)


def centroid(wave: np.ndarray) -> float:
    """Mean frequency in Hz, weighted by amplitude."""
    spectrum = np.abs(np.fft.rfft(wave))
    return float((spectrum * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / spectrum.sum())


def envelope(wave: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(wave.astype(np.float64)).reshape(-1, 640).mean(1))


def test_sixteen_trained_objects_sound_in_two_ways_each() -> None:
    trained = {info.name for info in world.objects("train")}
    assert len(NAMES) == 16
    assert set(NAMES) <= trained
    assert set(VARIANTS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_whole_audible_and_repeatable(name: str) -> None:
    for variant in (0, 1):
        wave = render_sound(name, variant=variant, seed=3)
        assert wave.shape == (SAMPLES,)
        assert wave.dtype == np.float32
        assert np.abs(wave).max() == pytest.approx(PEAK, abs=1e-6)
        assert np.sqrt(np.square(wave).mean()) > 0.03
        np.testing.assert_array_equal(wave, render_sound(name, variant=variant, seed=3))
        assert np.abs(wave - render_sound(name, variant=variant, seed=4)).max() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_bigger_sounds_lower_and_lighter_sounds_brighter(name: str) -> None:
    for variant in (0, 1):
        sizes = [centroid(render_sound(name, scale=s, variant=variant, seed=1)) for s in (SMALLEST, 0.6, BIGGEST)]
        assert sizes == sorted(sizes, reverse=True)
        tints = [centroid(render_sound(name, tint=t, variant=variant, seed=1)) for t in ("black", None, "white")]
        assert tints == sorted(tints)


@pytest.mark.parametrize("name", NAMES)
def test_two_are_heard_twice(name: str) -> None:
    """Each half of the clip of two is the clip of one, shortened: their loudness runs alike."""
    halves = np.split(envelope(render_sound(name, count=2, seed=2)), 2)
    quiet = [half[-2:].mean() / half.max() for half in halves]
    assert max(quiet) < 0.05  # a pause after each
    assert halves[1].mean() == pytest.approx(halves[0].mean(), rel=0.5)


def test_the_two_ways_of_a_class_differ_more_than_its_clips() -> None:
    def features(name: str, variant: int, seed: int) -> np.ndarray:
        """Energies of ten bands of the sound, and of eight of the changes of its loudness, in nats."""
        wave = render_sound(name, variant=variant, seed=seed)
        loud = np.sqrt(np.square(wave).reshape(-1, 160).mean(1))
        both = []
        for signal, edges in ((wave, np.geomspace(60, 8000, 11)), (loud - loud.mean(), np.geomspace(1, 50, 9))):
            rate = RATE * len(signal) / SAMPLES
            power = np.square(np.abs(np.fft.rfft(signal))) / len(signal)
            band = np.digitize(np.fft.rfftfreq(len(signal), 1 / rate), edges)
            both += [np.log(power[band == i].sum() + 1e-4) for i in range(1, len(edges))]
        return np.array(both)

    for name in NAMES:
        clips = np.array([[features(name, variant, seed) for seed in range(4)] for variant in (0, 1)])
        within = np.sqrt(np.square(clips - clips.mean(1, keepdims=True)).sum(-1).mean())
        between = np.linalg.norm(clips[0].mean(0) - clips[1].mean(0))
        assert between > 2 * within, name


def test_closed_forms() -> None:
    assert pitch_of(SMALLEST) / pitch_of(BIGGEST) == pytest.approx(2**1.5)
    assert pitch_of((SMALLEST + BIGGEST) / 2) == pytest.approx(1)
    assert brightness_of(None) == 0
    assert brightness_of("black") < -2 < 2 < brightness_of("white")
    wave = tone(1000.0, {1.0: 1.0, 2.0: 0.5, 9.0: 1.0}, RATE)  # the ninth would fold back
    peaks = np.argsort(np.abs(np.fft.rfft(wave)))[-2:]
    assert sorted(peaks) == [1000, 2000]


def test_captions_are_grammatical() -> None:
    assert sound_caption("bell") == "the sound of a bell, struck"
    assert sound_caption("ambulance", scale=0.4, variant=1) == "the high sound of an ambulance, wailing"
    assert sound_caption("bird", count=2, scale=0.8) == "the low sound of two birds, chirping"


def test_what_cannot_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="'cheese' has no sound"):
        render_sound("cheese")
    with pytest.raises(ValueError, match="count must be 1 or 2"):
        render_sound("bell", count=3)
    with pytest.raises(ValueError, match="tint must be one of"):
        render_sound("bell", tint="teal")
    with pytest.raises(ValueError, match=r"scale must be in 0.35..0.9"):
        render_sound("bell", scale=2)
