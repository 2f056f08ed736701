"""Values to indices: fit posteriors, code block after block, and let what is not yet coded make up for what is.

Posteriors are in units of the prior: latent = prior.mean + prior.std * unit, and a unit is standard normal a priori.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .block_order import NEVER, Block, BlockOrder, Key, block_order_of
from .coding.rate_control import decreasing_root, expected_index_bits
from .coding.relative_entropy import choose
from .coding.shared_randomness import candidates
from .description import Tiling, whole
from .model.adam import adam
from .model.codec import CodecModel
from .model.gaussians import (
    DiagonalGaussian,
    choose_component,
    divergence_nats,
    explained_nats,
    posterior_from_observation,
    shift_log_beta,
)
from .model.network import split
from .payload import CodedDatum, write_components
from .windows import windows

PLAN_EVERY, LARGEST_FALL, LARGEST_RISE = 10, 2.0, 10.0
"""Steps between changes of beta, and how far its logarithm may be below and above the rate's own."""
CAPACITY_MARGIN = 5.0
"""By how much a block's information may exceed the candidates' bits. As measured: to send less costs more than a sample
that is a bit off."""
PATCHES_AT_ONCE = 32
"""Patches whose gradients are computed together; more would not fit a processor's cache."""
MOST_STITCHED = 512
"""The most patches of stitched encodings whose gradients are computed together; more would take too much memory."""
SAMPLE_REACH = 4.0
"""How many standard deviations from a prior's mean a sample is at most that can be counted on."""
POSTERIORS_AT_ONCE = 256
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
class _DatumState:
    """One datum's part of the rows of every level."""

    order: BlockOrder
    rows: list[slice]
    units: slice
    """Its places among those of all data."""
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
        data: Sequence[Float[Tensor, "channels ..."]],
        bits: float,
        config: EncodeConfig,
    ):
        self.model, self.rate, self.config = model, model.rates[rate], config
        self.bits_used, self.bits_expected, self.full = 0, 0.0, False
        self.index_bits = expected_index_bits(model.code, model.description.candidate_bits)
        self.log_beta = math.log(self.rate.beta)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.gumbel_generator = np.random.default_rng(config.seed)
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
        components = self._choose_components(*observed[0])
        self.data: list[_DatumState] = []
        count = 0
        for tiling, own in zip(tilings, rows, strict=True):
            order = block_order_of(model, rate, tiling, tuple(components[own[0]].tolist()))
            self.data.append(_DatumState(order, own, slice(count, count + order.count)))
            count += order.count
        named = sum(len(write_components(model, rate, datum.order.components)) for datum in self.data)
        self.budget = max(bits - 8 * named, 0)
        self.parts = list(self._parts())
        self._start(observed)

    def _parts(self) -> Iterator[_Part]:
        """All patches where they are few, chunks where each stands for itself, else windows with what lies around."""
        description = self.model.description
        if not description.stitched:
            for rows in _slices(len(self.patches), PATCHES_AT_ONCE):
                yield _Part(rows, [], self.weights[rows])
        elif len(self.patches) <= MOST_STITCHED:
            yield _Part(slice(None), [datum.order.tiling.grid for datum in self.data], self.weights)
        else:
            for datum in self.data:
                tiling, first = datum.order.tiling, datum.rows[0].start
                for window in windows(description, tiling, whole(tiling.dims)):
                    own = torch.zeros(window.grid)
                    own[tuple(slice(a, b) for a, b in window.inner)] = 1
                    rows = torch.tensor(window.rows) + first
                    yield _Part(rows, [window.grid], self.weights[rows] * own.view(-1, 1, 1))

    def _choose_components(self, mean: Float[Tensor, "r d"], log_std: Float[Tensor, "r d"]) -> Int[Tensor, " r"]:
        """The component of every patch."""
        lengths = torch.tensor(self.rate.component_code.lengths[:-1], dtype=torch.float32)  # the last is no component's
        parts = zip(mean.split(MOST_STITCHED), log_std.split(MOST_STITCHED), strict=True)
        return torch.cat([choose_component(self.rate.prior[0], lengths, *part, SAMPLE_REACH) for part in parts])

    def _start(self, observed: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Posteriors from what the amortiser observes, and which block every latent number belongs to."""
        places = [
            [torch.where(p < NEVER, p + datum.units.start, NEVER) for p in datum.order.places] for datum in self.data
        ]
        self.units = [torch.cat(parts) for parts in zip(*places, strict=True)]
        count = self.data[-1].units.stop
        self.uncoded, self.planned = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        self.block_log_beta = torch.zeros(count)
        self.samples = [torch.zeros(unit.shape) for unit in self.units]
        self.means, self.log_stds, self.priors = [], [], []
        for level, found in enumerate(observed):
            parts = [datum.order.priors[level] for datum in self.data]
            prior = DiagonalGaussian(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
            mean, log_std = posterior_from_observation(prior, *found)
            self.priors.append(prior)
            self.means.append(((mean - prior.mean) / prior.std).requires_grad_())
            self.log_stds.append((log_std - prior.std.log()).clamp(-9, 0).requires_grad_())
        self.moments = [(torch.zeros_like(v), torch.zeros_like(v)) for v in [*self.means, *self.log_stds]]
        self.steps_taken = 0
        self._plan_rate()

    @property
    def change(self) -> float:
        """Of the logarithm of beta, from the rate's own: what the wanted bits ask for."""
        return self.log_beta - math.log(self.rate.beta)

    @property
    def overrun(self) -> float:
        """Bits of indices over those that were expected, so far."""
        return self.bits_used / self.bits_expected if self.bits_expected else 1.0

    @property
    def fits(self) -> bool:
        """Whether all blocks of the rate can fill the wanted bits."""
        return self.change > -0.99 * LARGEST_FALL

    def encode(self) -> list[CodedDatum]:
        """Components and indices of every datum, in the order of its blocks."""
        config = self.config
        self._fit(config.steps, lambda step: 0.2 + 0.4 * (1 + math.cos(math.pi * step / config.steps)))
        left = config.rounds
        while (queue := self._queue()) and not self.full:
            for key in queue[: -(-len(queue) // left)]:
                self._code(key)
            if self.uncoded.any():
                self._fit(config.round_steps, lambda step: 0.2)
            left = max(left - 1, 1)
        return [CodedDatum(datum.order.components, datum.indices) for datum in self.data]

    def _queue(self) -> list[Key]:
        """Blocks that wait, in the order of coding: the same for all data."""
        return sorted(
            {
                key
                for datum in self.data
                for key, block in datum.order.blocks.items()
                if self.planned[datum.units.start + block.first :][: len(block.rows)].any()
            }
        )

    def _fit(self, steps: int, schedule: Callable[[int], float]) -> None:
        """Optimize the free posteriors: squared error plus every block's beta times its information."""
        for step in range(steps):
            if step % PLAN_EVERY == 0:
                self._plan_rate()
            self._gradients()
            self.steps_taken += 1
            with torch.no_grad():
                for value, moments in zip([*self.means, *self.log_stds], self.moments, strict=True):
                    assert value.grad is not None
                    value -= self.config.learning_rate * schedule(step) * adam(value.grad, *moments, self.steps_taken)

    def _gradients(self) -> Float[Tensor, " units"]:
        """Put the loss's gradients into the posteriors; returns every block's information in bits."""
        samples, beta = [], (self.log_beta + self.block_log_beta).exp()
        information = torch.zeros(len(beta))
        weighted = torch.zeros(())
        for mean, log_std, free, fixed, unit in zip(
            self.means, self.log_stds, self.free, self.samples, self.units, strict=True
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

    @torch.no_grad()
    def _plan_rate(self) -> None:
        """Plan which blocks are sent, and change beta so that bits suffice and no block is too full.

        The paper also lowers it where information is to spare, so that every block has its full 12 bits. A block with
        less costs a smaller index here, and one beta for all blocks and data spends the bits where they tell the most.

        The paper's posteriors follow beta in thousands of steps. Here they are moved to where the new one has them if
        values are linear in the latent numbers (`shift_log_beta`), so that bisection finds beta without the network.
        """
        capacity, count = self.model.description.candidate_bits + CAPACITY_MARGIN, len(self.uncoded)
        open_ = [self._of(self.uncoded, unit) for unit in self.units]
        values = [(m[own], s[own]) for m, s, own in zip(self.means, self.log_stds, open_, strict=True)]
        place = torch.cat([unit[own] for unit, own in zip(self.units, open_, strict=True)])
        mean, log_std = (torch.cat(parts) for parts in zip(*values, strict=True))

        def summed(nats: Tensor) -> Float[Tensor, " units"]:
            return torch.zeros(count).index_add_(0, place, nats) / math.log(2)

        def after(change: Tensor) -> tuple[Tensor, Tensor]:
            return shift_log_beta(mean, log_std, change.expand(count)[place])

        def planned(change: Tensor) -> tuple[Tensor, Tensor]:
            """Bits of every block's index, and which blocks to send."""
            new = after(change)
            costs = self.index_bits(summed(divergence_nats(*new)))
            going_on = self.steps_taken and self.planned.any()
            return costs, self.planned if going_on else self._plan(summed(explained_nats(*new)) - costs)

        def missing(change: Tensor) -> Tensor:
            costs, sent = planned(change)
            return (costs * sent).sum() * self.overrun - (self.budget - self.bits_used)

        change = torch.zeros(())
        if self.budget < math.inf:
            low, high = (torch.tensor(end - self.change) for end in (-LARGEST_FALL, LARGEST_RISE))
            change = decreasing_root(missing, low, high)
        own = decreasing_root(
            lambda own: summed(divergence_nats(*after(change + own))) - capacity,
            -self.block_log_beta, LARGEST_RISE - self.block_log_beta,
        )  # fmt: skip
        self.planned = planned(change + own)[1]
        self.free = [self._of(self.planned, unit) for unit in self.units]
        self.log_beta, self.block_log_beta = self.log_beta + float(change), self.block_log_beta + own
        for mean, log_std, unit, own_units in zip(self.means, self.log_stds, self.units, open_, strict=True):
            new = shift_log_beta(mean[own_units], log_std[own_units], (change + own)[unit[own_units]])
            for value, changed in zip((mean, log_std), new, strict=True):
                value[own_units] = changed

    def _plan(self, gain: Float[Tensor, " units"]) -> Bool[Tensor, " units"]:
        """Which blocks to send: all without a limit, else of each datum the leading ones that gain most together."""
        if self.budget == math.inf:
            return self.uncoded.clone()
        planned = torch.zeros_like(self.uncoded)
        for datum in self.data:
            here = slice(datum.units.start + len(datum.indices), datum.units.stop)
            together = gain[here].cumsum(0)
            if len(together) and together.max() > 0:
                planned[here][: int(together.argmax()) + 1] = True
        return planned

    @staticmethod
    def _of(chosen: Bool[Tensor, " units"], unit: Int[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
        """The latent numbers of the chosen blocks."""
        return torch.cat([chosen, chosen.new_zeros(1)])[unit.clamp_max(len(chosen))]

    @torch.no_grad()
    def _code(self, key: Key) -> None:
        """Code one block of all data while there is room, and fix its samples."""
        members: list[tuple[_DatumState, Block, slice]] = []
        for datum in self.data:
            block = datum.order.blocks.get(key)
            if block is not None:
                first = max(len(datum.indices) - block.first, 0)
                waiting = self.planned[datum.units.start + block.first :][first : len(block.rows)]
                members.append((datum, block, slice(first, first + int(waiting.sum()))))
        level, columns, address = members[0][1].level, members[0][1].columns, members[0][1].address
        rows = torch.cat([block.rows[part] + datum.rows[level].start for datum, block, part in members])
        model, draws = self.model, 1 << self.model.description.candidate_bits
        normals = torch.from_numpy(candidates(model.table, model.key, address, len(columns), count=draws))
        mean, log_std = self.means[level][rows, columns], self.log_stds[level][rows, columns]
        nats = divergence_nats(mean, log_std).sum(1)
        chosen = torch.cat(
            [
                choose(normals, mean[part], log_std[part].exp(), self.gumbel_generator)
                for part in _slices(len(rows), POSTERIORS_AT_ONCE)
            ]
        )
        place = 0
        for datum, _, part in members:
            count, kept = part.stop - part.start, 0
            while kept < count and self._admit(datum, int(chosen[place + kept])):
                kept += 1
            here = slice(place, place + kept)
            self.samples[level][rows[here], columns] = normals[chosen[here]]
            self.bits_expected += float(self.index_bits(nats[here] / math.log(2)).sum())
            self.uncoded[datum.units.start : datum.units.start + len(datum.indices)] = False
            place += count
        self.planned &= self.uncoded
        self.free = [self._of(self.planned, unit) for unit in self.units]

    def _admit(self, datum: _DatumState, index: int) -> bool:
        """Take an index for a datum's next place if it fits; after one that does not, none does."""
        size = self.model.code.size(index)
        self.full = self.full or self.bits_used + size > self.budget
        if self.full:
            return False
        self.bits_used += size
        datum.indices.append(index)
        return True


def _rows(tilings: Sequence[Tiling]) -> list[list[slice]]:
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
