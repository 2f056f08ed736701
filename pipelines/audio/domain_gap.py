"""Out-of-domain pictures of a mapper, and the retrieval gap between picture and sound space."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from mappers.files import replacing
from mappers.tables import markdown_table
from mappers.v2a import EmbeddingMapper, LinearMapper

from ..estimate import Estimate, bootstrap
from .metrics import recall_at
from .pairs import EmbeddedItems

logger = logging.getLogger(__name__)

FILE_NAME = "domain.safetensors"
MAX_ANCHORS = 1024
"""At most so many embeddings of training pictures are stored."""


@dataclass(frozen=True)
class Domain:
    """The region of CLIP space that a mapper was trained on, as a sample of its training embeddings."""

    anchors: Float[Tensor, "n c"]
    """Unit vectors of training pictures."""
    threshold: float
    """95 % of the anchors have a cosine of at least this with their nearest other anchor."""

    @classmethod
    def of(cls, embeds: Float[Tensor, "n c"]) -> Domain:
        """The domain of training embeddings, of which an even selection of at most `MAX_ANCHORS` is kept."""
        chosen = torch.linspace(0, len(embeds) - 1, min(len(embeds), MAX_ANCHORS)).round().long()
        anchors = F.normalize(embeds[chosen].float(), dim=1)
        if len(anchors) < 2:
            return cls(anchors, -1.0)
        others = (anchors @ anchors.T).fill_diagonal_(-1)
        return cls(anchors, float(others.amax(1).quantile(0.05)))

    def out_of_domain(self, embeds: Float[Tensor, "k c"]) -> list[int]:
        """Indices of rows whose cosine with the nearest anchor is below `threshold`."""
        nearest = (F.normalize(embeds.float(), dim=1).cpu() @ self.anchors.T).amax(1)
        return torch.nonzero(nearest < self.threshold - 1e-4).flatten().tolist()

    def save(self, folder: str | Path) -> None:
        """Write the domain into a mapper's folder.

        Raises:
            OSError: the file cannot be written.
        """
        with replacing(Path(folder) / FILE_NAME) as temporary:
            save_file({"anchors": self.anchors.contiguous(), "least": torch.tensor(self.threshold)}, temporary)

    @classmethod
    def load(cls, folder: str | Path) -> Domain | None:
        """The domain in a mapper's folder; None if the folder has none.

        Raises:
            ValueError: the file is damaged.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            return None
        try:
            found = load_file(path)
            return cls(found["anchors"], found["least"].item())
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is damaged; remove it or copy it again") from error


@dataclass(frozen=True)
class GapRow:
    """Retrieval of sounds by pictures of the same name, for one way of mapping."""

    way: str
    first: Estimate
    """Share of pictures whose nearest sound has their name."""
    fifth: Estimate
    """Share of pictures with a sound of their name among the five nearest."""


def gap_report(
    pictures: EmbeddedItems,
    sounds: EmbeddedItems,
    mapper: EmbeddingMapper,
    training: tuple[Tensor, Tensor] | None = None,
) -> list[GapRow]:
    """How well pictures retrieve sounds of the same name, before and after mapping.

    Args:
        pictures: queries.
        sounds: gallery.
        mapper: the mapper to measure.
        training: pairs of embeddings to fit the linear baseline to; None leaves it out.

    Returns:
        Rows "chance" (names shuffled), "unmapped" (for equal widths), "linear", "mapper", and "oracle": sounds as
        queries for other sounds of their name, where there are any.
    """
    numbers = {name: i for i, name in enumerate(sorted(set(sounds.names)))}
    asked = [row for row, name in enumerate(pictures.names) if name in numbers]
    seen = pictures.rows[asked]
    classes = np.array([numbers[pictures.names[row]] for row in asked])
    heard, heard_classes = sounds.rows.numpy(), np.array([numbers[name] for name in sounds.names])
    translated = mapper.translate(
        seen.to(mapper.device), generator=torch.Generator().manual_seed(0) if mapper.generative else None
    ).cpu()  # fmt: skip
    ways: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "chance": (translated.numpy(), np.random.default_rng(0).permutation(heard_classes))
    }
    if seen.shape[1] == sounds.rows.shape[1]:
        ways["unmapped"] = (seen.numpy(), heard_classes)
    if training is not None:
        linear = LinearMapper(seen.shape[1], sounds.rows.shape[1])
        linear.fit(*training)
        ways["linear"] = (linear.translate(seen).numpy(), heard_classes)
    ways["mapper"] = (translated.numpy(), heard_classes)
    rows = [
        GapRow(way, *(_recall(k, queries, classes, heard, gallery_classes) for k in (1, 5)))
        for way, (queries, gallery_classes) in ways.items()
    ]
    several = np.bincount(heard_classes)[heard_classes] > 1
    if several.sum() > 1:
        rows.append(GapRow("oracle", *(_among_others(k, heard, heard_classes, several) for k in (1, 5))))
    return rows


def _recall(k: int, queries: np.ndarray, classes: np.ndarray, gallery: np.ndarray, names: np.ndarray) -> Estimate:
    return bootstrap(
        lambda rows, asked: recall_at(k, rows, asked[:, 0], gallery, names), queries, classes[:, None]
    )  # fmt: skip


def _among_others(k: int, heard: np.ndarray, classes: np.ndarray, several: np.ndarray) -> Estimate:
    """Recall of sounds among the other sounds: a sound cannot retrieve itself."""
    unit = heard / np.linalg.norm(heard, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    right = (classes[np.argsort(-cosines, axis=1)[:, :k]] == classes[:, None]).any(1)[several]
    return bootstrap(lambda rows: float(rows.mean()), right[:, None].astype(float))


def gap_table(rows: Sequence[GapRow]) -> str:
    """The report as a Markdown table."""
    return markdown_table(
        ["translated by", "recall at 1", "recall at 5"], [[row.way, row.first, row.fifth] for row in rows]
    )
