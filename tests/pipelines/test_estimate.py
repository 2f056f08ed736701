"""Figures with their confidence intervals."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.audio.metrics import cosine_score, frechet_distance
from pipelines.estimate import bootstrap


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(60):
        estimate = bootstrap(lambda rows: float(rows.mean()), rng.normal(1, 2, size=(80, 1)), seed=trial)
        assert estimate.low <= estimate.value <= estimate.high
        covered += estimate.low <= 1 <= estimate.high
    assert covered >= 52


def test_resampling_keeps_pairs_together() -> None:
    rows = np.arange(1.0, 21.0)[:, None] * np.array([[1.0, 2.0]])
    estimate = bootstrap(cosine_score, rows, rows)
    assert estimate.low == pytest.approx(100)


def test_intervals_of_distances_lie_around_their_value() -> None:
    a = np.random.default_rng(0).normal(size=(60, 6))
    b = a[::-1] + 0.1
    plain = bootstrap(frechet_distance, a, b, rounds=40)
    centred = bootstrap(frechet_distance, a, b, rounds=40, centred=True)
    assert plain.value == centred.value
    assert centred.low < centred.value < centred.high
    assert centred.high - centred.low == pytest.approx(plain.high - plain.low)
