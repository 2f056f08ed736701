"""The priors and the beta of every rate, fitted to sums over the posteriors of a round of training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..description import Description
from .gaussians import DiagonalGaussian, aggregate_prior, choose_component

LARGEST_CHANGE = math.log(1.5)
"""Largest change of ``log beta`` at the end of a round (arXiv 2309.17182, appendix A)."""
MEMORY = 0.5
"""Weight of earlier rounds in the sums that priors are fitted to, since rare components have few patches in one."""
BELIEF = 4.0
"""Number of posteriors that the previous prior counts as in a fit."""


class Priors(nn.Module):
    """Mean and standard deviation of every latent number at every rate, [rates, columns].

    ``information`` is that of each column in a row that has it, ``spent`` that of a whole datum in the last round; both
    are in bits and means.

    Deviation: the prior of patches is a mixture. Every patch chooses a component, whose code costs bits. With a single
    component the prior is the paper's.

    Args:
        description: its `priors` are the layout of the columns: all components of the first level, then the others.
    """

    mean: Tensor
    std: Tensor
    information: Tensor
    log_beta: Tensor
    share: Tensor
    spent: Tensor
    sums: Tensor
    round: Tensor

    def __init__(self, description: Description):
        super().__init__()
        self.layout = description.priors
        rates, columns = len(description.budgets), sum(count * width for count, width in self.layout)
        self.register_buffer("mean", torch.zeros(rates, columns))
        self.register_buffer("std", torch.ones(rates, columns))
        self.register_buffer("information", torch.zeros(rates, columns))
        self.register_buffer("log_beta", torch.zeros(rates))
        self.register_buffer("share", torch.full((rates, description.components), 1 / description.components))
        self.register_buffer("spent", torch.zeros(rates))
        self.register_buffer("sums", torch.zeros(5, rates, columns))
        self.register_buffer("round", torch.zeros(2, rates))

    def choose(
        self, rate: Int[Tensor, " r"], mean: Float[Tensor, "r d"], log_std: Float[Tensor, "r d"]
    ) -> Int[Tensor, " r"]:
        """The component of each patch, from noisy observations of its latent numbers."""
        count, width = self.layout[0]
        if count == 1:
            return torch.zeros_like(rate)
        parts = (x[rate, : count * width].unflatten(1, (count, width)) for x in (self.mean, self.std))
        mixture = DiagonalGaussian(*parts)
        return choose_component(mixture, self.costs(rate), mean, log_std)

    def costs(self, rate: Int[Tensor, " r"]) -> Float[Tensor, "r k"]:
        """Bits that the code of each component takes."""
        return -self.share[rate].log2()

    def at(self, rate: Int[Tensor, " b"], spread: Int[Tensor, "b size"]) -> DiagonalGaussian:
        """The prior of every latent number of each datum; ``spread`` comes from :meth:`spread`."""
        return DiagonalGaussian(self.mean[rate[:, None], spread], self.std[rate[:, None], spread])

    def spread(self, components: Int[Tensor, "b patches"], rows: Sequence[int]) -> Int[Tensor, "b size"]:
        """The prior's column of every latent number of each datum.

        Args:
            components: the component of every patch.
            rows: number of rows of each level.
        """
        parts, first = [], 0
        for level, (count, width) in enumerate(self.layout):
            chosen = components if level == 0 else components.new_zeros(len(components), rows[level])
            columns = torch.arange(width, device=components.device)
            parts.append((first + chosen[..., None] * width + columns).flatten(1))
            first += count * width
        return torch.cat(parts, 1)

    @torch.no_grad()
    def observe(
        self,
        rate: Int[Tensor, " b"],
        spread: Int[Tensor, "b size"],
        mean: Float[Tensor, "b size"],
        log_std: Float[Tensor, "b size"],
        bits: Float[Tensor, "b size"],
        component_bits: Float[Tensor, " b"],
    ) -> None:
        """Add the posteriors of a batch to the sums of the round, on all processes alike.

        Args:
            rate: rate of each datum.
            spread: the prior's column of every latent number of a datum.
            mean, log_std: the posteriors.
            bits: their information.
            component_bits: bits of the components of each datum.
        """
        flat = (rate[:, None] * self.mean.shape[1] + spread).flatten()
        values = torch.stack([torch.ones_like(mean), mean, mean.square(), (2 * log_std).exp(), bits])
        sums = torch.zeros_like(self.sums).flatten(1).index_add_(1, flat, values.flatten(1)).view_as(self.sums)
        data = torch.stack([torch.ones_like(component_bits), bits.sum(1) + component_bits])
        totals = torch.zeros_like(self.round).index_add_(1, rate, data)
        if dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(totals)
        self.sums += sums
        self.round += totals

    @torch.no_grad()
    def fit(self, budgets: Sequence[float], gain: float) -> None:
        """End a round (section 3.3): change beta by information over its budget, and fit the priors in closed form.

        Args:
            budgets: target of a datum's information at each rate, in bits.
            gain: change of ``log beta`` relative to the logarithm of information over budget.
        """
        data, bits = self.round
        if not data.all():
            return
        self.spent.copy_(bits / data)
        over = (self.spent / bits.new_tensor(budgets)).clamp_min(1e-6).log()
        self.log_beta += (gain * over).clamp(-LARGEST_CHANGE, LARGEST_CHANGE)
        count, mean, square, variance, bits = self.sums
        mixture, width = self.layout[0]
        chosen = 1 + count[:, : mixture * width : width]
        self.share.copy_(chosen / chosen.sum(1, keepdim=True))
        self.information.copy_(torch.where(count > 0, bits / count.clamp_min(1), self.information))
        prior = aggregate_prior(
            count + BELIEF,
            mean + BELIEF * self.mean,
            square + BELIEF * self.mean.square(),
            variance + BELIEF * self.std.square(),
        )
        self.mean.copy_(prior.mean)
        self.std.copy_(prior.std)
        self.sums *= MEMORY
        self.round.zero_()
