"""Pairs of embeddings, and the task that trains a mapper on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .training.draws import Draws
from .training.trainer import Prepared
from .v2a import EmbeddingMapper


@dataclass(frozen=True)
class Pairs:
    """Embeddings of two sides and the pairs among them; one picture may belong to several sounds."""

    condition: Float[Tensor, "n c"]
    target: Float[Tensor, "m a"]
    index: Int[Tensor, "p 2"]
    """For each pair its rows in ``condition`` and in ``target``."""

    @classmethod
    def by_name(
        cls,
        condition: Float[Tensor, "n c"],
        condition_names: Sequence[str],
        target: Float[Tensor, "m a"],
        target_names: Sequence[str],
    ) -> Pairs:
        """Pair every row of one side with every row of the other that has the same name.

        Raises:
            ValueError: the sides share no name.
        """
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(target_names):
            rows.setdefault(name, []).append(row)
        index = [(i, j) for i, name in enumerate(condition_names) for j in rows.get(name, ())]
        if not index:
            raise ValueError(
                f"no name is on both sides: {_some(condition_names)} and {_some(target_names)}; give both files of a"
                " pair the same name"
            )
        return cls(condition, target, torch.tensor(index))


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))[:3]) or "nothing"


class PairTask:
    """Trains a mapper on pairs of embeddings, sampled uniformly.

    Args:
        mapper: the mapper to train.
        train: training pairs.
        held_out: pairs to validate on; None takes the training pairs.
        batch_size: pairs in a step, over all processes.
    """

    def __init__(self, mapper: EmbeddingMapper, train: Pairs, held_out: Pairs | None = None, *, batch_size: int):
        self.modules: Mapping[str, nn.Module] = {"mapper": mapper}
        self.mapper, self.train, self.held_out = mapper, train, held_out or train
        self.batch_size = batch_size

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        # Drawn for the whole step at once: one generator for each pair would take longer than the step.
        chosen = draws.rows("pairs", self.batch_size, 1)[:, 0].cpu()
        index = self.train.index[(chosen * len(self.train.index)).long()]
        return self.train.condition[index[:, 0]].to(draws.device), self.train.target[index[:, 1]].to(draws.device)

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        return {"loss": self.mapper.loss(modules["mapper"], *batch, draws)}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Mean cosine with the nearest of the targets that are paired with the condition."""
        device = next(self.mapper.parameters()).device
        condition, target = self.held_out.condition.to(device), F.normalize(self.held_out.target, dim=-1).to(device)
        generator = torch.Generator().manual_seed(0) if self.mapper.generative else None
        cosines = self.mapper.translate(condition, generator=generator) @ target.T
        belongs = torch.zeros_like(cosines, dtype=torch.bool)
        belongs[tuple(self.held_out.index.T)] = True
        asked = belongs.any(1)
        nearest = cosines.masked_fill(~belongs, -1)[asked].amax(1)
        return {"cosine": nearest.mean().item()}
