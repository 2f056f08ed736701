"""Values to indices: fit posteriors, then code block after block while those not yet coded adapt to the coded ones.

Posteriors are in units of the prior: latent = prior.mean + prior.std * z, where the prior of z is standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .block_order import NEVER, Block, BlockOrder, Key, block_order_of
from .coding.rate_control import UncodedLatents, expected_index_bits, plan_rate
from .coding.relative_entropy import choose
from .coding.shared_randomness import candidates
from .model.adam import adam
from .model.codec import CodecModel
from .model.gaussians import (
    DiagonalGaussian,
    choose_component,
    divergence_nats,
    posterior_from_observation,
    shift_log_beta,
)
from .patches import MOST_STITCHED, Patches, slices
from .payload import CodedDatum, write_components

PLAN_EVERY, LARGEST_FALL, LARGEST_RISE = 10, 2.0, 10.0
"""Optimizer steps between changes of beta, and how far its logarithm may be below and above the rate's own."""
CAPACITY_MARGIN = 5.0
"""Bits of information that a block may have beyond the candidates' bits. Measured: a lower limit loses more quality
than the slightly inexact samples of fuller blocks do."""
SAMPLE_REACH = 4.0
"""The largest distance of a sample from the prior's mean that an encoder counts on, in standard deviations."""
POSTERIORS_AT_ONCE = 256
"""Posteriors that are compared with a block's candidates at a time."""


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
    """One datum's rows of every level, and its progress."""

    order: BlockOrder
    rows: list[slice]
    places: slice
    """Its places in the order of coding, among those of all data."""
    indices: list[int] = field(default_factory=list)

    @property
    def uncoded(self) -> slice:
        """Its places that are not coded yet."""
        return slice(self.places.start + len(self.indices), self.places.stop)


class Encoder:
    """Encodes data of any sizes together, all at one of the model's rates.

    Args:
        model: the codec.
        rate: number of the rate.
        data: values in the network's units, -0.5..0.5 for pictures, [channels, *dims] each.
        bits: the most bits for components and indices of all data; with infinity, the rate's own beta decides.
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
        self.patches = patches = Patches.of(data, model.description)
        tiles = patches.values.unflatten(2, model.description.patch)
        rates = torch.full((len(tiles),), rate)
        observed = model.amortiser(tiles, rates, model.network.transform.weight, patches.parents)
        components = self._choose_components(*observed[0])
        self.data: list[_DatumState] = []
        count = 0
        for tiling, rows in zip(patches.tilings, patches.rows, strict=True):
            order = block_order_of(model, rate, tiling, tuple(components[rows[0]].tolist()))
            self.data.append(_DatumState(order, rows, slice(count, count + order.count)))
            count += order.count
        component_bytes = sum(len(write_components(model, rate, datum.order.components)) for datum in self.data)
        self.budget = max(bits - 8 * component_bytes, 0)
        self.parts = list(patches.parts(model.description))
        self._start(observed)

    def _choose_components(self, mean: Float[Tensor, "r d"], log_std: Float[Tensor, "r d"]) -> Int[Tensor, " r"]:
        """The prior's component of every patch."""
        lengths = torch.tensor(self.rate.component_code.lengths[:-1], dtype=torch.float32)  # the last word is the end's
        parts = zip(mean.split(MOST_STITCHED), log_std.split(MOST_STITCHED), strict=True)
        return torch.cat([choose_component(self.rate.prior[0], lengths, *part, SAMPLE_REACH) for part in parts])

    def _start(self, observed: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Start posteriors from the amortiser's observations, and find the place of every latent number."""
        places = [
            [torch.where(p < NEVER, p + datum.places.start, NEVER) for p in datum.order.places] for datum in self.data
        ]
        self.places = [torch.cat(parts) for parts in zip(*places, strict=True)]
        count = self.data[-1].places.stop
        self.uncoded, self.planned = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        self.block_log_beta = torch.zeros(count)
        self.samples = [torch.zeros(place.shape) for place in self.places]
        self.means, self.log_stds, self.priors = [], [], []
        for level, observation in enumerate(observed):
            parts = [datum.order.priors[level] for datum in self.data]
            prior = DiagonalGaussian(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
            mean, log_std = posterior_from_observation(prior, *observation)
            self.priors.append(prior)
            self.means.append(((mean - prior.mean) / prior.std).requires_grad_())
            self.log_stds.append((log_std - prior.std.log()).clamp(-9, 0).requires_grad_())
        self.moments = [(torch.zeros_like(v), torch.zeros_like(v)) for v in [*self.means, *self.log_stds]]
        self.steps_taken = 0
        self._plan_rate()

    @property
    def change(self) -> float:
        """Change of log beta from the rate's own value, as the budget asks for."""
        return self.log_beta - math.log(self.rate.beta)

    @property
    def overrun(self) -> float:
        """Bits of the indices so far, relative to those expected."""
        return self.bits_used / self.bits_expected if self.bits_expected else 1.0

    @property
    def fits(self) -> bool:
        """Whether the blocks of this rate can use the whole budget."""
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
        """Blocks that are planned, in the order of coding, which is the same for all data."""
        return sorted(
            {
                key
                for datum in self.data
                for key, block in datum.order.blocks.items()
                if self.planned[datum.places.start + block.first :][: len(block.rows)].any()
            }
        )

    def _fit(self, steps: int, schedule: Callable[[int], float]) -> None:
        """Optimize the posteriors of planned blocks: squared error plus each block's beta times its information."""
        for step in range(steps):
            if step % PLAN_EVERY == 0:
                self._plan_rate()
            self._gradients()
            self.steps_taken += 1
            with torch.no_grad():
                for value, moments in zip([*self.means, *self.log_stds], self.moments, strict=True):
                    assert value.grad is not None
                    value -= self.config.learning_rate * schedule(step) * adam(value.grad, *moments, self.steps_taken)

    def _gradients(self) -> Float[Tensor, " places"]:
        """Put the loss's gradients into the posteriors; returns the information of every place in bits."""
        samples, beta = [], (self.log_beta + self.block_log_beta).exp()
        information = torch.zeros(len(beta))
        weighted = torch.zeros(())
        for mean, log_std, free, coded, places in zip(
            self.means, self.log_stds, self.free, self.samples, self.places, strict=True
        ):
            mean.grad = log_std.grad = None
            noise = torch.randn(mean.shape, generator=self.generator)
            samples.append(torch.where(free, mean + log_std.exp() * noise, coded))
            nats = divergence_nats(mean, log_std)
            place = torch.where(free, places, 0)
            nats = torch.where(free, nats, 0.0)
            weighted = weighted + (nats * beta[place]).sum()
            information.index_add_(0, place.flatten(), nats.detach().flatten())
        leaves = [sample.detach().requires_grad_() for sample in samples]
        self._distortion(leaves)
        torch.autograd.backward([weighted, *samples], [torch.ones(()), *(leaf.grad for leaf in leaves)])
        return information / math.log(2)

    def _distortion(self, leaves: list[Tensor]) -> None:
        """Put the squared error's gradient into samples, which are in units of the prior."""
        latents = [p.mean + p.std * leaf for p, leaf in zip(self.priors, leaves, strict=True)]
        inner = [level.detach().requires_grad_() for level in latents]
        for part in self.parts:
            parents = [parent[part.rows] for parent in self.patches.parents]
            values = self.model.network([inner[0][part.rows], *inner[1:]], parents, part.grids)
            ((values - self.patches.values[part.rows]).square() * part.weights).sum().backward()
        torch.autograd.backward(latents, [level.grad for level in inner])

    @torch.no_grad()
    def _plan_rate(self) -> None:
        """Plan which blocks to send, change beta to fit the budget, and shift the posteriors to the new beta.

        After the first step a plan is kept, as long as some of it is not coded: only beta changes.
        """
        uncoded = [self._at(self.uncoded, places) for places in self.places]
        parts = zip(self.means, self.log_stds, self.places, uncoded, strict=True)
        values = zip(*((mean[own], log_std[own], places[own]) for mean, log_std, places, own in parts), strict=True)
        plan = plan_rate(
            UncodedLatents(*(torch.cat(of_levels) for of_levels in values), places=len(self.uncoded)),
            self.index_bits,
            self.budget - self.bits_used,
            [datum.uncoded for datum in self.data],
            limits=(-LARGEST_FALL - self.change, LARGEST_RISE - self.change),
            block_limits=(-self.block_log_beta, LARGEST_RISE - self.block_log_beta),
            capacity=self.model.description.candidate_bits + CAPACITY_MARGIN,
            overrun=self.overrun,
            sent=self.planned if self.steps_taken and self.planned.any() else None,
        )
        self._set_planned(plan.sent)
        self.log_beta += float(plan.change)
        self.block_log_beta = self.block_log_beta + plan.block_change
        change = plan.change + plan.block_change
        for mean, log_std, places, own in zip(self.means, self.log_stds, self.places, uncoded, strict=True):
            mean[own], log_std[own] = shift_log_beta(mean[own], log_std[own], change[places[own]])

    def _set_planned(self, planned: Bool[Tensor, " places"]) -> None:
        """Set which places are planned, and with them which latent numbers are free to change."""
        self.planned = planned
        self.free = [self._at(planned, places) for places in self.places]

    @staticmethod
    def _at(chosen: Bool[Tensor, " places"], places: Int[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
        """Whether the place of each latent number is chosen; those that are never sent are not."""
        return torch.cat([chosen, chosen.new_zeros(1)])[places.clamp_max(len(chosen))]

    @torch.no_grad()
    def _code(self, key: Key) -> None:
        """Code one block of all data as far as the budget goes, and keep its samples."""
        members: list[tuple[_DatumState, Block, slice]] = []
        for datum in self.data:
            block = datum.order.blocks.get(key)
            if block is not None:
                first = max(len(datum.indices) - block.first, 0)
                planned = self.planned[datum.places.start + block.first :][first : len(block.rows)]
                members.append((datum, block, slice(first, first + int(planned.sum()))))
        level, columns, address = members[0][1].level, members[0][1].columns, members[0][1].address
        rows = torch.cat([block.rows[part] + datum.rows[level].start for datum, block, part in members])
        model, draws = self.model, 1 << self.model.description.candidate_bits
        normals = torch.from_numpy(candidates(model.table, model.key, address, len(columns), count=draws))
        mean, log_std = self.means[level][rows, columns], self.log_stds[level][rows, columns]
        nats = divergence_nats(mean, log_std).sum(1)
        parts = slices(len(rows), POSTERIORS_AT_ONCE)
        chosen = torch.cat([choose(normals, mean[part], log_std[part].exp(), self.gumbel_generator) for part in parts])
        place = 0
        for datum, _, part in members:
            count, kept = part.stop - part.start, 0
            while kept < count and self._admit(datum, int(chosen[place + kept])):
                kept += 1
            here = slice(place, place + kept)
            self.samples[level][rows[here], columns] = normals[chosen[here]]
            self.bits_expected += float(self.index_bits(nats[here] / math.log(2)).sum())
            self.uncoded[datum.places.start : datum.uncoded.start] = False
            place += count
        self._set_planned(self.planned & self.uncoded)

    def _admit(self, datum: _DatumState, index: int) -> bool:
        """Append an index to a datum's if it fits the budget; after the first that does not fit, none is appended."""
        size = self.model.code.size(index)
        self.full = self.full or self.bits_used + size > self.budget
        if self.full:
            return False
        self.bits_used += size
        datum.indices.append(index)
        return True
