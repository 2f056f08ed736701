"""The priors of every rate and their weights of information, fitted to sums over the posteriors of a round."""

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
"""Of ``log beta`` at the end of a round (arXiv 2309.17182, appendix A)."""
MEMORY = 0.5
"""Weight of the rounds before in the sums that priors are fitted to: rare components have few patches in a round."""
BELIEF = 4.0
"""Posteriors that the prior so far counts for in a fit."""


class Priors(nn.Module):
    """Mean and standard deviation of every latent number at every rate, [rates, columns].

    ``information`` is that of each column where a row has it, ``spent`` that of a whole datum in the last round, bits.

    Deviation: the patches' prior is a mixture whose component is chosen, and paid for, by every patch. With one
    component it is the paper's.

    Args:
        description: its `priors` say how columns are laid out: all components of the first level, then the others.
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
        """The component of each patch, from what is observed of its latent numbers."""
        count, width = self.layout[0]
        if count == 1:
            return torch.zeros_like(rate)
        parts = (x[rate, : count * width].unflatten(1, (count, width)) for x in (self.mean, self.std))
        mixture = DiagonalGaussian(*parts)
        return choose_component(mixture, self.costs(rate), mean, log_std)

    def costs(self, rate: Int[Tensor, " r"]) -> Float[Tensor, "r k"]:
        """Bits of naming each component."""
        return -self.share[rate].log2()

    def at(self, rate: Int[Tensor, " b"], spread: Int[Tensor, "b size"]) -> DiagonalGaussian:
        """Of every latent number of each datum, from :meth:`spread`."""
        return DiagonalGaussian(self.mean[rate[:, None], spread], self.std[rate[:, None], spread])

    def spread(self, components: Int[Tensor, "b patches"], rows: Sequence[int]) -> Int[Tensor, "b size"]:
        """The prior's column of every latent number of each datum.

        Args:
            components: of every patch.
            rows: of each level.
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
        naming: Float[Tensor, " b"],
    ) -> None:
        """Add a batch's posteriors to the round's sums, those of all processes alike.

        Args:
            rate: rate of each datum.
            spread: the prior's column of every latent number of a datum.
            mean, log_std: the posteriors.
            bits: their information.
            naming: bits of the names of a datum's components.
        """
        flat = (rate[:, None] * self.mean.shape[1] + spread).flatten()
        values = torch.stack([torch.ones_like(mean), mean, mean.square(), (2 * log_std).exp(), bits])
        sums = torch.zeros_like(self.sums).flatten(1).index_add_(1, flat, values.flatten(1)).view_as(self.sums)
        data = torch.stack([torch.ones_like(naming), bits.sum(1) + naming])
        totals = torch.zeros_like(self.round).index_add_(1, rate, data)
        if dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(totals)
        self.sums += sums
        self.round += totals

    @torch.no_grad()
    def fit(self, budgets: Sequence[float], gain: float) -> None:
        """A round's end (section 3.3): weigh information against its budget, then fit the priors in closed form.

        Args:
            budgets: information that a datum should have at each rate, in bits.
            gain: how strongly ``log beta`` follows the logarithm of information over budget.
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
