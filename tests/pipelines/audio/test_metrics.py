"""Figures for sounds against closed forms and independent computations."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from pipelines.audio import metrics


def cloud(seed: int, n: int = 400, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_frechet_distance_equals_the_matrix_root() -> None:
    a, b = cloud(0), cloud(1, n=300)
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_nothing_and_of_a_shift_its_square() -> None:
    a = cloud(2)
    assert metrics.frechet_distance(a, a[::-1]) < 1e-6
    assert metrics.frechet_distance(a, a + 3) == pytest.approx(9 * a.shape[1], rel=1e-6)


def test_few_rows_warn_and_wrong_ones_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        metrics.frechet_distance(cloud(0, n=5), cloud(1, n=5))
    assert "biased upwards" in caplog.text
    with pytest.raises(ValueError, match="different networks"):
        metrics.frechet_distance(cloud(0, d=3), cloud(0, d=4))
    with pytest.raises(ValueError, match="not finite"):
        metrics.frechet_distance(np.full((3, 2), np.nan), cloud(0, d=2))
    with pytest.raises(ValueError, match="at least two rows"):
        metrics.inception_score(np.zeros((1, 3)))


def test_extrapolation_takes_the_bias_of_small_samples_off() -> None:
    rng = np.random.default_rng(0)
    reference, generated = rng.normal(size=(20_000, 8)), rng.normal(size=(120, 8))
    assert (
        abs(metrics.extrapolated_frechet_distance(generated, reference))
        < metrics.frechet_distance(generated, reference) / 2
    )


def test_inception_score_reaches_from_one_to_the_number_of_classes() -> None:
    assert metrics.inception_score(np.zeros((12, 4))) == pytest.approx(1)
    assert metrics.inception_score(50 * np.eye(4).repeat(3, 0)) == pytest.approx(4)


def test_divergence_of_pairs_by_hand_and_only_of_pairs() -> None:
    half, sure = np.log([[0.5, 0.5], [0.5, 0.5]]), np.log([[0.9, 0.1], [0.2, 0.8]])
    by_hand = np.mean([0.9 * math.log(1.8) + 0.1 * math.log(0.2), 0.2 * math.log(0.4) + 0.8 * math.log(1.6)])
    assert metrics.paired_kl(half, ["a", "b"], sure[::-1], ["b", "a"]) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="exactly one reference"):
        metrics.paired_kl(half, ["a", "c"], sure, ["a", "b"])


def test_scores_and_retrieval_by_hand() -> None:
    first = np.array([[2.0, 0.0], [0.0, 3.0]])
    assert metrics.cosine_score(first, 5 * first) == pytest.approx(100)
    assert metrics.cosine_score(first, first[::-1]) == pytest.approx(0)
    gallery, classes = np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 0.9]]), np.array([0, 1, 1])
    assert metrics.recall_at(1, first, np.array([0, 1]), gallery, classes) == 1
    assert metrics.recall_at(1, first, np.array([1, 1]), gallery, classes) == 0.5
    assert metrics.recall_at(2, first, np.array([1, 1]), gallery, classes) == 1
    assert metrics.accuracy(np.array([[2.0, 1.0], [2.0, 1.0]]), np.array([0, 1])) == 0.5
