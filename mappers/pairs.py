"""Embeddings of files, computed once: a cache keyed by what a file holds, and pairs of embeddings to train on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from .draws import Draws
from .files import replacing
from .trainer import Prepared
from .v2a import EmbeddingMapper


def space_id(*models: nn.Module) -> str:
    """What tells an embedding space apart: 16 hexadecimal digits of the SHA-256 of its models' weights.

    Weights count as fp32, so that a file in half precision and the model loaded from it have the same id.
    """
    digest = hashlib.sha256()
    for model in models:
        for name, value in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(str(list(value.shape)).encode())
            value = value.detach().cpu()
            digest.update((value.float() if value.is_floating_point() else value).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class EmbeddingCache:
    """Embeddings on disk by (space, content of the file), so that moved, copied and resumed work is not done again.

    Every batch becomes one safetensors file that appears whole or not at all; a damaged one is left out and its
    embeddings are computed again.

    Args:
        folder: where the files are; made when needed.
        space: `space_id` of the model that embeds; other spaces' embeddings are not looked at.
    """

    def __init__(self, folder: str | Path, space: str):
        self.folder = Path(folder) / space
        self.known: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self.known.update(load_file(path))
            except SafetensorError:
                path.unlink()

    def embed(
        self, paths: Sequence[str | Path], embed: Callable[[list[Path]], Float[Tensor, "b d"]], *, batch: int = 32
    ) -> Float[Tensor, "n d"]:
        """The embeddings of files, in order; ``embed`` is asked only for contents that were never seen.

        Raises:
            FileNotFoundError: a file is missing.
        """
        keys = [content_key(path) for path in paths]
        new = {key: Path(path) for key, path in zip(keys, paths, strict=True) if key not in self.known}
        wanted = list(new)
        for first in tqdm(range(0, len(wanted), batch), unit="batch", desc="embedding", disable=not wanted):
            part = wanted[first : first + batch]
            rows = embed([new[key] for key in part]).detach().float().cpu()
            self._keep({key: row.clone() for key, row in zip(part, rows, strict=True)})
        return torch.stack([self.known[key] for key in keys])

    def _keep(self, rows: dict[str, Tensor]) -> None:
        name = hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()[:32]
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file(rows, temporary)
        self.known.update(rows)


def content_key(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Pairs:
    """Embeddings of both sides and which of them belong together: one picture may go with several sounds."""

    condition: Float[Tensor, "n c"]
    target: Float[Tensor, "m a"]
    index: Int[Tensor, "p 2"]
    """Rows of ``condition`` and of ``target``."""

    @classmethod
    def by_name(
        cls,
        condition: Float[Tensor, "n c"],
        condition_names: Sequence[str],
        target: Float[Tensor, "m a"],
        target_names: Sequence[str],
    ) -> Pairs:
        """Every row of one side with every row of the other that has the same name.

        Raises:
            ValueError: no name is on both sides.
        """
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(target_names):
            rows.setdefault(name, []).append(row)
        index = [(i, j) for i, name in enumerate(condition_names) for j in rows.get(name, ())]
        if not index:
            raise ValueError(
                f"no name is on both sides: {_some(condition_names)} and {_some(target_names)}; pairs share their name"
            )
        return cls(condition, target, torch.tensor(index))


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))[:3]) or "nothing"


class PairTask:
    """Trains a mapper on pairs of embeddings, drawn evenly.

    Args:
        mapper: what to train.
        train: its pairs.
        held_out: pairs to validate on; None takes those of the training.
        batch_size: pairs of a step, over all processes.
    """

    def __init__(self, mapper: EmbeddingMapper, train: Pairs, held_out: Pairs | None = None, *, batch_size: int):
        self.modules: Mapping[str, nn.Module] = {"mapper": mapper}
        self.mapper, self.train, self.held_out = mapper, train, held_out or train
        self.batch_size = batch_size

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        # A whole step's rows at once: a generator for each of thousands of pairs would cost more than the step.
        chosen = draws.rows("pairs", self.batch_size, 1)[:, 0].cpu()
        index = self.train.index[(chosen * len(self.train.index)).long()]
        return self.train.condition[index[:, 0]].to(draws.device), self.train.target[index[:, 1]].to(draws.device)

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        return {"loss": self.mapper.loss(modules["mapper"], *batch, draws)}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Mean cosine to the nearest target that belongs to the condition."""
        device = next(self.mapper.parameters()).device
        condition, target = self.held_out.condition.to(device), F.normalize(self.held_out.target, dim=-1).to(device)
        generator = torch.Generator().manual_seed(0) if self.mapper.generative else None
        cosines = self.mapper.translate(condition, generator=generator) @ target.T
        belongs = torch.zeros_like(cosines, dtype=torch.bool)
        belongs[tuple(self.held_out.index.T)] = True
        asked = belongs.any(1)
        nearest = cosines.masked_fill(~belongs, -1)[asked].amax(1)
        return {"cosine": nearest.mean().item()}
