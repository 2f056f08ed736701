"""Randomness that depends on what is drawn, never on who draws it or in which order.

A sample's draws are keyed by (seed, step, global sample index, name) and a batch-wide draw by (seed, step,
name). One process or eight, resumed or not, a step therefore sees the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit integer from ``parts``: BLAKE2b, so that neighbouring seeds give unrelated streams."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """The random numbers of one micro-batch.

    Args:
        seed: the run's seed.
        step: optimizer step, from 0.
        indices: global indices (0..batch_size-1) of this process's samples in this step.
        device: where drawn tensors are put; drawing itself happens on the CPU, so it is the same everywhere.
    """

    def __init__(self, seed: int, step: int, indices: Sequence[int], device: torch.device | str = "cpu"):
        self.seed, self.step, self.indices = seed, step, list(indices)
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.indices)

    def _generator(self, *parts: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(key(self.seed, self.step, *parts))

    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers, [b, *shape]."""
        rows = [torch.randn(tuple(shape), generator=self._generator(i, name)) for i in self.indices]
        return torch.stack(rows).to(self.device)

    def uniform(self, name: str, shape: Sequence[int] = ()) -> Float[Tensor, "b ..."]:
        """Numbers uniform in [0, 1), [b, *shape]."""
        rows = [torch.rand(tuple(shape), generator=self._generator(i, name)) for i in self.indices]
        return torch.stack(rows).to(self.device)

    def integers(self, name: str, high: int, shape: Sequence[int] = ()) -> Int[Tensor, "b ..."]:
        """Integers uniform in 0..high-1, [b, *shape]."""
        rows = [torch.randint(high, tuple(shape), generator=self._generator(i, name)) for i in self.indices]
        return torch.stack(rows).to(self.device)

    def rows(self, name: str, total: int, width: int) -> Float[Tensor, "b width"]:
        """Numbers uniform in [0, 1), [b, width]: this micro-batch's rows of one block drawn for the whole batch.

        For batches of thousands of small samples, such as rays, where a generator each would take longer than the
        step.

        Args:
            total: samples of the step over all processes and accumulation rounds.
        """
        block = torch.rand(total, width, generator=self.shared_generator(name))
        return block[self.indices].to(self.device)

    def numpy(self, row: int, name: str = "data") -> np.random.Generator:
        """A NumPy generator for the ``row``-th sample of this micro-batch."""
        return np.random.Generator(np.random.Philox(key(self.seed, self.step, self.indices[row], name)))

    def shared_generator(self, name: str) -> torch.Generator:
        """A generator for draws that the whole batch shares; the same in every process."""
        return self._generator("shared", name)
