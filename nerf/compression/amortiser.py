"""The amortised start of a posterior: one pass over the patches instead of hundreds of optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from .descriptions import Description

START_STD = 0.9
"""Standard deviation of a posterior that knows nothing yet, at the start of training, where priors have 1."""


class Amortiser(nn.Module):
    """Predicts the posteriors of every level at a given rate from the patches; the upsampler's mirror image.

    A linear analysis of every block, with gains and standard deviations for each rate, and a network that corrects it.
    The levels above come from the mean of their patches' features.
    Not part of RECOMBINER, which starts every datum from the prior. A decoder has no use for it.
    """

    def __init__(self, description: Description, hidden: int = 64):
        super().__init__()
        self.description = description
        axes, sizes = len(description.patch), [description.channels, *description.upsampler[-2::-1], hidden]
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        strides = description.factors[::-1]
        self.convolutions = nn.ModuleList(
            kind(a, b, tuple(s + 1 + s % 2 for s in stride), stride=stride, padding=tuple((s + 1) // 2 for s in stride))
            for a, b, stride in zip(sizes[:-1], sizes[1:], strides, strict=True)
        )
        rates, channels, block = len(description.budgets), description.latent_channels, description.block
        self.analysis = kind(description.channels, channels, block, stride=block, bias=False)
        self.gain = nn.Parameter(torch.ones(rates, channels, 1))
        self.log_std = nn.Parameter(torch.full((rates, channels, 1), math.log(START_STD)))
        self.rates = nn.Embedding(rates, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.encoding = nn.Linear(hidden, 2 * description.latent_channels)
        self.weights = nn.Linear(hidden, 2 * sum(description.weight_sizes))
        self.above = nn.ModuleList(nn.Linear(hidden, 2 * columns) for columns in description.columns[1:])
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        for head in (self.encoding, self.weights, *self.above):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self,
        patches: Float[Tensor, "r channels *patch"],
        rate: Int[Tensor, " r"],
        parents: Sequence[Int[Tensor, " r"]] = (),
    ) -> list[tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]]:
        """Means and log standard deviations of the rows of each level.

        Args:
            patches: the first level's rows.
            rate: of every patch.
            parents: for each level above the first, the row there of every patch.
        """
        features = patches
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features))
        features = features.flatten(2).transpose(1, 2) + self.rates(rate)[:, None]
        features = features + functional.leaky_relu(self.mix(features))
        local = self.encoding(features).transpose(1, 2).unflatten(1, (2, -1))
        mean = local[:, 0] + self.gain[rate] * self.analysis(patches).flatten(2)
        log_std = local[:, 1] + self.log_std[rate]
        features = features.mean(1)
        whole = self.weights(features).unflatten(1, (2, -1))
        first = (
            torch.cat([whole[:, 0], mean.flatten(1)], 1),
            torch.cat([whole[:, 1] + math.log(START_STD), log_std.flatten(1)], 1),
        )
        return [first, *(self._level(head, features, parent) for head, parent in zip(self.above, parents, strict=True))]

    def _level(
        self, head: nn.Module, features: Float[Tensor, "r f"], parent: Int[Tensor, " r"]
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
        """The posteriors of a level above from the mean features of the patches below each row."""
        count = parent.bincount()[:, None]
        mean = features.new_zeros(len(count), features.shape[1]).index_add(0, parent, features) / count
        found = head(mean).unflatten(1, (2, -1))
        return found[:, 0], found[:, 1] + math.log(START_STD)
