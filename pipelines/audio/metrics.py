"""Metrics of generated sounds: distances of distributions, agreement with the condition, retrieval.

Each metric is computed from arrays of embeddings or class scores. Distances in the embeddings of different networks
cannot be compared. All arithmetic is float64.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

logger = logging.getLogger(__name__)

Rows = Float[np.ndarray, "n d"]


def frechet_distance(first: Rows, second: Float[np.ndarray, "m d"], *, warn: bool = True) -> float:
    """Frechet distance of the normal distributions fitted to two sets of embeddings: FD, or FAD with VGGish.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), from eigenvalues of a symmetric matrix. No root of the non-symmetric
    product is taken, so the result is real and never negative.

    Args:
        first: embeddings, one in each row.
        second: embeddings of the same network.
        warn: whether to warn when there are too few rows for the width.

    Raises:
        ValueError: a set has fewer than two rows, widths differ, or a number is not finite.
    """
    first, second = _checked(first), _checked(second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"embeddings of widths {first.shape[1]} and {second.shape[1]} are of different networks")
    if warn and min(len(first), len(second)) <= first.shape[1]:
        logger.warning(
            "a Frechet distance of %d and %d rows in %d dimensions is biased upwards: covariances are not of full rank",
            len(first), len(second), first.shape[1],
        )  # fmt: skip
    covariance, other = (np.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (first, second))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(min=0)).sum()
    moved = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(moved + np.trace(covariance) + np.trace(other) - 2 * shared, 0))


def extrapolated_frechet_distance(
    generated: Rows, reference: Float[np.ndarray, "m d"], *, sizes: int = 8, seed: int = 0
) -> float:
    """The Frechet distance extrapolated to infinitely many samples: FAD-infinity (arXiv 2311.01616, section 3.2).

    A line is fitted to the distances of subsets over 1 / N; the result is its value at zero.

    Raises:
        ValueError: as `frechet_distance`, or fewer than 16 rows.
    """
    if len(generated) < 16:
        raise ValueError(f"at least 16 generated sounds are needed to extrapolate, got {len(generated)}")
    rng = np.random.default_rng(seed)
    counts = np.linspace(len(generated) / 2, len(generated), sizes).astype(int)
    subsets = [generated[rng.choice(len(generated), count, replace=False)] for count in counts]
    found = [frechet_distance(subset, reference, warn=False) for subset in subsets]
    _, intercept = np.polyfit(1 / counts, found, 1)
    return float(intercept)


def inception_score(logits: Float[np.ndarray, "n c"]) -> float:
    """exp of the mean KL divergence of each sound's classes from the mean distribution: 1 to the number of classes."""
    log_p = _log_softmax(_checked(logits))
    p = np.exp(log_p)
    return float(np.exp((p * (log_p - np.log(p.mean(0)))).sum(1).mean()))


def paired_kl(
    generated: Float[np.ndarray, "n c"],
    generated_names: Sequence[str],
    reference: Float[np.ndarray, "m c"],
    reference_names: Sequence[str],
) -> float:
    """Mean KL divergence, in nats, from a reference's class distribution to that of the sound of the same name.

    Raises:
        ValueError: a name repeats or is on one side only.
    """
    if len(set(generated_names)) < len(generated_names) or set(generated_names) != set(reference_names):
        raise ValueError("KL compares pairs: every generated sound needs exactly one reference of its own name")
    place = {name: row for row, name in enumerate(reference_names)}
    wanted = _log_softmax(_checked(reference))[[place[name] for name in generated_names]]
    found = _log_softmax(_checked(generated))
    return float((np.exp(wanted) * (wanted - found)).sum(1).mean())


def cosine_score(first: Rows, second: Rows) -> float:
    """100 times the mean cosine of paired rows: CS with CLIP and Wav2CLIP, the CLAP score with CLAP."""
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (_checked(first), _checked(second)))
    return float(100 * (first * second).sum(1).mean())


def recall_at(
    k: int,
    queries: Rows,
    query_classes: Int[np.ndarray, " n"],
    gallery: Float[np.ndarray, "m d"],
    gallery_classes: Int[np.ndarray, " m"],
) -> float:
    """Share of queries with a row of their own class among the ``k`` nearest of the gallery, by cosine."""
    queries, gallery = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (_checked(queries), _checked(gallery))
    )
    nearest = np.argsort(-queries @ gallery.T, axis=1)[:, :k]
    return float((gallery_classes[nearest] == query_classes[:, None]).any(1).mean())


def accuracy(logits: Float[np.ndarray, "n c"], classes: Int[np.ndarray, " n"]) -> float:
    """Share of sounds that the classifier assigns to the right class."""
    return float((_checked(logits).argmax(1) == classes).mean())


def _log_softmax(logits: Rows) -> Rows:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _checked(rows: np.ndarray) -> Rows:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"at least two rows are needed, one for each sound; got the shape {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ValueError("an embedding or score is not finite; remove the sound that it was computed from")
    return rows
