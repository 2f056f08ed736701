"""The priors of every rate and their weights of information, fitted to sums over the posteriors of a round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from .gaussians import Gaussian, aggregate_prior

LARGEST_CHANGE = math.log(1.5)
"""Of ``log beta`` at the end of a round (arXiv 2309.17182, appendix A)."""


class Priors(nn.Module):
    """Mean and standard deviation of every latent number at every rate, [rates, columns].

    Args:
        rates: rates that the model is trained for.
        columns: latent numbers of one row at each level, all levels in turn.
    """

    mean: Tensor
    std: Tensor
    posterior_std: Tensor
    information: Tensor
    log_beta: Tensor
    sums: Tensor

    def __init__(self, rates: int, columns: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(rates, columns))
        self.register_buffer("std", torch.ones(rates, columns))
        self.register_buffer("posterior_std", torch.ones(rates, columns))
        self.register_buffer("information", torch.zeros(rates, columns))
        self.register_buffer("log_beta", torch.zeros(rates))
        self.register_buffer("sums", torch.zeros(5, rates, columns))

    def __getitem__(self, rate: int | Tensor) -> Gaussian:
        return Gaussian(self.mean[rate], self.std[rate])

    @torch.no_grad()
    def observe(
        self,
        rate: Int[Tensor, " b"],
        spread: Int[Tensor, " size"],
        mean: Float[Tensor, "b size"],
        log_std: Float[Tensor, "b size"],
        bits: Float[Tensor, "b size"],
    ) -> None:
        """Add a batch's posteriors to the round's sums, those of all processes alike.

        Args:
            rate: rate of each datum.
            spread: the prior's column of every latent number of a datum.
            mean, log_std: the posteriors.
            bits: their information.
        """
        flat = (rate[:, None] * self.mean.shape[1] + spread).flatten()
        values = torch.stack([torch.ones_like(mean), mean, mean.square(), (2 * log_std).exp(), bits])
        sums = torch.zeros_like(self.sums).flatten(1).index_add_(1, flat, values.flatten(1)).view_as(self.sums)
        if dist.is_initialized():
            dist.all_reduce(sums)
        self.sums += sums

    @torch.no_grad()
    def fit(self, repeats: Int[Tensor, " columns"], budgets: Sequence[float], gain: float) -> None:
        """A round's end (section 3.3): weigh information against its budget, then fit the priors in closed form.

        Args:
            repeats: how often each column occurs in a datum: once for each of its level's rows.
            budgets: information that a datum should have at each rate, in bits.
            gain: how strongly ``log beta`` follows the logarithm of information over budget.
        """
        count, mean, square, variance, bits = self.sums
        if not count.all():
            return
        information = bits / count * repeats.to(bits)
        over = (information.sum(1) / information.new_tensor(budgets)).clamp_min(1e-6).log()
        self.log_beta += (gain * over).clamp(-LARGEST_CHANGE, LARGEST_CHANGE)
        prior = aggregate_prior(count, mean, square, variance)
        self.mean.copy_(prior.mean)
        self.std.copy_(prior.std)
        self.posterior_std.copy_((variance / count).sqrt())
        self.information.copy_(bits / count)
        self.sums.zero_()
