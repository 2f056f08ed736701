"""The sounding part of the nano world: pictures and sounds that share hidden factors, captions, stored clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.nano import world
from pipelines.nano.world.moments import (
    NAMES,
    Clips,
    SoundCaption,
    all_captions,
    numbered_moment,
    sample_caption,
    sample_moment,
)
from pipelines.nano.world.sounds import BIGGEST, SMALLEST


def test_moments_share_their_factors_between_picture_and_sound() -> None:
    moments = [numbered_moment(3, index) for index in range(1_000)]
    assert {moment.name for moment in moments} == set(NAMES)
    scales = np.array([moment.scene.scale for moment in moments])
    assert scales.min() >= SMALLEST
    assert scales.max() <= BIGGEST
    assert np.histogram(scales, bins=4)[0].min() > 20
    for moment in moments:
        assert moment.picture_caption().startswith("two") == (moment.scene.count == 2)
        assert ("low" in moment.sound_caption()) == (moment.size == 2) == ("big" in moment.picture_caption())
        assert ("high" in moment.sound_caption()) == (moment.size == 0) == ("small" in moment.picture_caption())
    assert np.mean([moment.scene.count == 2 for moment in moments]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([moment.scene.tint is not None for moment in moments]) == pytest.approx(0.4, abs=0.05)
    assert {moment.sound_class for moment in moments} == set(range(32))
    factors = np.array([moment.factors for moment in moments])
    assert np.abs(factors).max() <= 1.0


def test_fixing_one_thing_leaves_the_others() -> None:
    free = sample_moment(np.random.default_rng(4))
    other = sample_moment(np.random.default_rng(4), variant=1 - free.variant)
    assert other.scene == free.scene
    assert other.seed == free.seed
    assert not np.array_equal(other.sound(), free.sound())


def test_objects_stay_in_the_frame() -> None:
    """Nothing of a white object on a black ground touches the rim."""
    for index in range(32):
        moment = numbered_moment(9, index)
        scene = replace(moment.scene, place="plain", color="black", tint="white", seed=0)
        empty = world.render(replace(scene, scale=0.05)).astype(int)
        changed = np.abs(world.render(scene).astype(int) - empty).max(2) > 60
        rim = np.ones((64, 64), dtype=bool)
        rim[1:-1, 1:-1] = False
        assert (changed & rim).sum() <= 4, moment


def test_captions_fit_what_they_say_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    moments = [numbered_moment(5, index) for index in range(64)]
    texts = [sample_caption(moment, rng) for moment in moments]
    assert all(text.describes(moment) for text, moment in zip(texts, moments, strict=True))
    full = [text for text in texts if text.size is not None]
    assert len(full) == pytest.approx(43, abs=12)
    for text in full:
        assert {moment.sound_caption() for moment in moments if text.describes(moment)} == {text.text}
    assert all(SoundCaption("").describes(moment) for moment in moments)
    assert {moment.sound_caption() for moment in moments} <= set(all_captions())


def test_clips_are_rendered_once_and_come_back(tmp_path: Path) -> None:
    clips = Clips(tmp_path, 3, 7)
    assert clips.waves(slice(None)).shape == (3, 40_960)
    np.testing.assert_allclose(clips.waves(1).numpy(), clips.moments[1].sound(), atol=2e-5)
    (stored,) = tmp_path.iterdir()
    before = stored.stat().st_mtime_ns
    assert torch.equal(Clips(tmp_path, 3, 7).stored, clips.stored)
    assert stored.stat().st_mtime_ns == before
    stored.write_bytes(b"not a file of tensors")
    assert torch.equal(Clips(tmp_path, 3, 7).stored, clips.stored)
    assert torch.equal(Clips(None, 3, 7).stored, clips.stored)
