"""Values to indices: fit posteriors, code block after block, and let what is not yet coded make up for what is.

Posteriors are in units of the prior: latent = prior.mean + prior.std * unit, and a unit is standard normal a priori.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from collections.abc import Sequence as ListOf
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .coding import choose
from .decoder import windows
from .descriptions import Tiling, whole
from .gaussians import Gaussian, choose_component, combine, divergence_nats
from .model import CodecModel
from .network import split
from .payload import Coded, names
from .posteriors import adam
from .randomness import candidates
from .sequence import NEVER, Key, Sequence, sequence_of

CONTROL_EVERY, CONTROL_RATE, LARGEST_RISE, LARGEST_EXCESS = 5, 0.25, 0.5, 10.0
"""Steps between changes of a block's beta; the change of its logarithm for a bit too many; the largest one; and the
largest of all changes together."""
STEER_RATE = 0.4
"""How far beta of all blocks follows the logarithm of expected over wanted bits; about 2 would get there at once."""
FIRST_OVERHEAD, SMALLEST_INDEX = 3.0, 6.0
"""Bits of an index beyond its information, until some are coded; and what an index must be given to be worth it."""
CHUNK = 32
"""Patches whose gradients are computed together; more would not fit a processor's cache."""
AT_ONCE = 512
"""The most patches of stitched encodings whose gradients are computed together; more would take too much memory."""
COLUMN = 256
"""Posteriors that are compared with a codebook at a time."""


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How long an encoder searches."""

    steps: int = 60
    """Optimizer steps before the first block is coded."""
    rounds: int = 12
    """Rounds of coding: each codes its share of the blocks, then fits the others again."""
    round_steps: int = 3
    """Optimizer steps of a round."""
    learning_rate: float = 0.003
    """Of the posteriors, in units of the prior; falls to a fifth as a cosine before the first block is coded."""
    seed: int = 0
    """Seed of the samples and of the coder's Gumbel numbers."""

    def __post_init__(self) -> None:
        for name in ("rounds", "round_steps", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")


@dataclass
class _Datum:
    """One datum's part of the rows of every level."""

    sequence: Sequence
    rows: list[slice]
    indices: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """Patches whose gradients are computed together."""

    rows: slice | Int[Tensor, " r"]
    grids: list[tuple[int, ...]]
    weights: Float[Tensor, "r 1 points"]
    """1 where a point counts here."""


class Encoder:
    """Encodes data of any sizes at once; all at one of the model's rates.

    Args:
        model: the codec.
        rate: which of its rates.
        data: values in the network's units, -0.5..0.5 for pictures, [channels, *dims] each.
        bits: bits that components and indices of all data may take together; infinite: what the rate's own beta asks
            for.
        config: how long to search.
    """

    def __init__(
        self,
        model: CodecModel,
        rate: int,
        data: ListOf[Float[Tensor, "channels ..."]],
        bits: float,
        config: EncodeConfig,
    ):
        self.model, self.rate, self.config = model, model.rates[rate], config
        self.used, self.coded, self.coded_information, self.full = 0, 0, 0.0, False
        self.floor = math.log(self.rate.beta)
        self.generator, self.gumbels = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
        tilings = [model.description.tiling(tuple(values.shape[1:])) for values in data]
        rows = _rows(tilings)
        self.parents = [
            torch.cat(
                [torch.tensor(t.parents()[above]) + own[above + 1].start for t, own in zip(tilings, rows, strict=True)]
            )
            for above in range(len(model.description.columns) - 1)
        ]
        pairs = [_patches(values, tiling, model) for values, tiling in zip(data, tilings, strict=True)]
        self.patches, self.weights = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        tiles = self.patches.unflatten(2, model.description.patch)
        rates = torch.full((len(tiles),), rate)
        observed = model.amortiser(tiles, rates, model.network.transform.weight, self.parents)
        components = self._components(*observed[0])
        self.data = [
            _Datum(sequence_of(model, rate, tiling, tuple(components[own[0]].tolist())), own)
            for tiling, own in zip(tilings, rows, strict=True)
        ]
        named = sum(len(names(model, rate, datum.sequence.components)) for datum in self.data)
        self.bits = max(bits - 8 * named, 0)
        self.parts = list(self._parts())
        self._start(observed)

    def _parts(self) -> Iterator[_Part]:
        """All patches where they are few, chunks where each stands for itself, else windows with what lies around."""
        description = self.model.description
        if not description.stitched:
            for rows in _slices(len(self.patches), CHUNK):
                yield _Part(rows, [], self.weights[rows])
        elif len(self.patches) <= AT_ONCE:
            yield _Part(slice(None), [datum.sequence.tiling.grid for datum in self.data], self.weights)
        else:
            for datum in self.data:
                tiling, first = datum.sequence.tiling, datum.rows[0].start
                for window in windows(description, tiling, whole(tiling.dims)):
                    own = torch.zeros(window.grid)
                    own[tuple(slice(a, b) for a, b in window.inner)] = 1
                    rows = torch.tensor(window.rows) + first
                    yield _Part(rows, [window.grid], self.weights[rows] * own.view(-1, 1, 1))

    def _components(self, mean: Float[Tensor, "r d"], log_std: Float[Tensor, "r d"]) -> Int[Tensor, " r"]:
        """The component of every patch."""
        lengths = torch.tensor(self.rate.names.lengths[:-1], dtype=torch.float32)  # the last is no component's
        parts = zip(mean.split(AT_ONCE), log_std.split(AT_ONCE), strict=True)
        return torch.cat([choose_component(self.rate.prior[0], lengths, *part) for part in parts])

    def _start(self, observed: ListOf[tuple[Tensor, Tensor]]) -> None:
        """Posteriors from what the amortiser observes, and which block every latent number belongs to."""
        offset, units, levels = 0, [], len(self.parents) + 1
        for datum in self.data:
            units.append([torch.where(p < NEVER, p + offset, NEVER) for p in datum.sequence.places])
            offset += datum.sequence.count
        self.units = [torch.cat([parts[level] for parts in units]) for level in range(levels)]
        # For little room the blocks that say the least are left out from the start: an index is never free.
        share = min(1.0, self.bits / (SMALLEST_INDEX * offset))
        planned = [torch.arange(d.sequence.count) < share * d.sequence.count for d in self.data]
        self.waiting = torch.cat([*planned, torch.zeros(1, dtype=torch.bool)])
        self.free = [self.waiting[unit.clamp_max(offset)] for unit in self.units]
        self.excess = torch.zeros(offset)
        self.fixed = [torch.zeros(unit.shape) for unit in self.units]
        self.means, self.log_stds, self.priors = [], [], []
        for level, found in enumerate(observed):
            parts = [datum.sequence.priors[level] for datum in self.data]
            prior = Gaussian(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
            mean, log_std = combine(prior, *found)
            self.priors.append(prior)
            self.means.append(((mean - prior.mean) / prior.std).requires_grad_())
            self.log_stds.append((log_std - prior.std.log()).clamp(-9, 0).requires_grad_())
        self.moments = [(torch.zeros_like(v), torch.zeros_like(v)) for v in [*self.means, *self.log_stds]]
        self.visits = 0

    def encode(self) -> list[Coded]:
        """Components and indices of every datum, in the order of its sequence."""
        config = self.config
        self._fit(config.steps, lambda step: 0.2 + 0.4 * (1 + math.cos(math.pi * step / config.steps)))
        queue = self._queue()
        share = max(1, -(-len(queue) // config.rounds))
        for first in range(0, len(queue), share):
            for key in queue[first : first + share]:
                self._code(key)
            if self.full:
                break
            if first + share < len(queue):
                self._fit(config.round_steps, lambda step: 0.2)
        return [Coded(datum.sequence.components, datum.indices) for datum in self.data]

    def _queue(self) -> list[Key]:
        """Blocks in the order of coding: the same for all data."""
        return sorted({key for datum in self.data for key in datum.sequence.blocks})

    def _fit(self, steps: int, schedule: Callable[[int], float]) -> None:
        """Optimize the free posteriors: squared error plus every block's beta times its information."""
        for step in range(steps):
            information = self._gradients()
            self.visits += 1
            with torch.no_grad():
                for value, moments in zip([*self.means, *self.log_stds], self.moments, strict=True):
                    assert value.grad is not None
                    value -= self.config.learning_rate * schedule(step) * adam(value.grad, *moments, self.visits)
            if step % CONTROL_EVERY == 0:
                self._control(information)

    def _gradients(self) -> Float[Tensor, " units"]:
        """Put the loss's gradients into the posteriors; returns every block's information in bits."""
        samples, information, beta = [], torch.zeros(len(self.excess)), (self.floor + self.excess).exp()
        weighted = torch.zeros(())
        for mean, log_std, free, fixed, unit in zip(
            self.means, self.log_stds, self.free, self.fixed, self.units, strict=True
        ):
            mean.grad = log_std.grad = None
            noise = torch.randn(mean.shape, generator=self.generator)
            samples.append(torch.where(free, mean + log_std.exp() * noise, fixed))
            nats = divergence_nats(mean, log_std)
            place = torch.where(free, unit, 0)
            nats = torch.where(free, nats, 0.0)
            weighted = weighted + (nats * beta[place]).sum()
            information.index_add_(0, place.flatten(), nats.detach().flatten())
        leaves = [sample.detach().requires_grad_() for sample in samples]
        self._distortion(leaves)
        torch.autograd.backward([weighted, *samples], [torch.ones(()), *(leaf.grad for leaf in leaves)])
        return information / math.log(2)

    def _distortion(self, leaves: list[Tensor]) -> None:
        """Put the squared error's gradient into samples of the units."""
        latents = [p.mean + p.std * leaf for p, leaf in zip(self.priors, leaves, strict=True)]
        inner = [level.detach().requires_grad_() for level in latents]
        for part in self.parts:
            parents = [parent[part.rows] for parent in self.parents]
            drawn = self.model.network([inner[0][part.rows], *inner[1:]], parents, part.grids)
            ((drawn - self.patches[part.rows]).square() * part.weights).sum().backward()
        torch.autograd.backward(latents, [level.grad for level in inner])

    def _control(self, information: Float[Tensor, " units"]) -> None:
        """Raise beta of blocks with more information than an index carries, and let it fall back to the one of all.

        The paper also lowers it where information is to spare, so that every block has its full 12 bits. A block with
        less costs a smaller index here, and one beta for all blocks and data spends the bits where they tell the most.
        That beta follows the bits that all indices are expected to take, where they are limited.
        """
        over = information - self.model.description.capacity
        self.excess = (self.excess + (CONTROL_RATE * over).clamp(-0.1, LARGEST_RISE)).clamp(0, LARGEST_EXCESS)
        if self.bits < math.inf:
            overhead = (self.used - self.coded_information) / self.coded if self.coded else FIRST_OVERHEAD
            expected = self.used + float(information.sum()) + overhead * int(self.waiting.sum())
            change = STEER_RATE * math.log(max(expected, 1.0) / max(self.bits, 1.0))
            lowest = math.log(self.rate.beta) - LARGEST_EXCESS
            self.floor = max(self.floor + min(max(change, -0.3), 0.3), lowest)

    @torch.no_grad()
    def _code(self, key: Key) -> None:
        """Code one block of all data while there is room, and fix its samples."""
        members = [(datum, datum.sequence.blocks[key]) for datum in self.data if key in datum.sequence.blocks]
        first = members[0][1]
        level = first.level
        rows = torch.cat([block.rows + datum.rows[level].start for datum, block in members])
        model, columns = self.model, first.columns
        count = 1 << model.description.candidate_bits
        normals = torch.from_numpy(candidates(model.table, model.key, first.address, len(columns), count=count))
        mean, log_std = self.means[level][rows, columns], self.log_stds[level][rows, columns]
        nats = divergence_nats(mean, log_std).sum(1)
        chosen = torch.cat(
            [choose(normals, mean[part], log_std[part].exp(), self.gumbels) for part in _slices(len(rows), COLUMN)]
        )
        place = 0
        for datum, block in members:
            kept = 0
            for index in chosen[place : place + len(block.rows)].tolist():
                if not self._admit(datum, block.first + kept, index):
                    break
                kept += 1
            here = slice(place, place + kept)
            self.fixed[level][rows[here], columns] = normals[chosen[here]]
            self.coded_information += float(nats[here].sum()) / math.log(2)
            place += len(block.rows)
        self.free[level][rows, columns] = False
        units = self.units[level][rows[:, 0], columns[0]]
        self.waiting[units] = False

    def _admit(self, datum: _Datum, place: int, index: int) -> bool:
        """Take an index for a datum's next place if it fits; after one that does not, none does."""
        size = self.model.code.size(index)
        self.full = self.full or self.used + size > self.bits
        if self.full or len(datum.indices) != place:
            return False
        self.used += size
        self.coded += 1
        datum.indices.append(index)
        return True


def _rows(tilings: ListOf[Tiling]) -> list[list[slice]]:
    """Of each datum, its rows at every level among those of all data."""
    found, start = [], [0] * len(tilings[0].rows)
    for tiling in tilings:
        found.append([slice(first, first + count) for first, count in zip(start, tiling.rows, strict=True)])
        start = [part.stop for part in found[-1]]
    return found


def _patches(
    values: Float[Tensor, "channels ..."], tiling: Tiling, model: CodecModel
) -> tuple[Float[Tensor, "r channels points"], Float[Tensor, "r 1 points"]]:
    """A datum's patches, filled up with its edge, and 1 where a point belongs to it."""
    grid, patch = tiling.grid, model.description.patch
    inside = torch.ones(1, *values.shape[1:])
    for axis, (count, side) in enumerate(zip(grid, patch, strict=True), 1):
        place = torch.arange(count * side)
        size = values.shape[axis]
        values = values.index_select(axis, place.clamp_max(size - 1))
        inside = inside.index_select(axis, place.clamp_max(size - 1))
        shape = [-1 if a == axis else 1 for a in range(values.dim())]
        inside = inside * (place < size).view(shape)
    return split(values[None], grid)[0].flatten(2), split(inside[None], grid)[0].flatten(2)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
