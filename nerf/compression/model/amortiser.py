"""The amortised start of posteriors: one pass over the patches instead of hundreds of optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..description import Description
from .network import convolution_of, split

START_STD = 2.0
"""Noise of an uninformative observation, where priors have a standard deviation of 1; all observations of weights start
with it."""


class Amortiser(nn.Module):
    """Observes the latent numbers of every level at a given rate, mirroring the upsampler.

    An encoding is observed by the network's own linear transform, with gains and noise for each rate, and corrected by
    a network. The levels above come from the mean of their patches' features. Observations and a prior make a posterior
    (:func:`nerf.compression.model.gaussians.posterior_from_observation`): one pass serves all components of the prior.
    RECOMBINER does without it and starts every datum from the prior. A decoder does not need it.
    """

    def __init__(self, description: Description, hidden: int = 64):
        super().__init__()
        self.description = description
        sizes = [description.channels, *description.upsampler[-2::-1], hidden]
        convolution_class = convolution_of(len(description.patch))
        strides = description.factors[::-1]
        convolutions = [
            convolution_class(
                a, b, tuple(s + 1 + s % 2 for s in stride), stride=stride, padding=tuple((s + 1) // 2 for s in stride)
            )
            for a, b, stride in zip(sizes[:-1], sizes[1:], strides, strict=True)
        ]
        self.convolutions = nn.ModuleList(convolutions)
        rates, channels = len(description.budgets), description.latent_channels
        self.gain = nn.Parameter(torch.ones(rates, channels, 1))
        self.log_std = nn.Parameter(torch.full((rates, channels, 1), math.log(START_STD)))
        self.rates = nn.Embedding(rates, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.encoding = nn.Linear(hidden, 2 * description.latent_channels)
        self.weights = nn.Linear(hidden, 2 * sum(description.weight_sizes))
        above = [nn.Linear(hidden, 2 * columns) for columns in description.columns[1:]]
        self.above = nn.ModuleList(above)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        for head in (self.encoding, self.weights, *above):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self,
        patches: Float[Tensor, "r channels *patch"],
        rate: Int[Tensor, " r"],
        transform: Float[Tensor, "latent channels *block"],
        parents: Sequence[Int[Tensor, " _r"]] = (),
    ) -> list[tuple[Float[Tensor, "_rows _columns"], Float[Tensor, "_rows _columns"]]]:
        """Observations of the rows of each level, and the logarithms of the standard deviations of their noise.

        Args:
            patches: the rows of the first level.
            rate: number of the rate of every patch.
            transform: weight of the network's linear transform.
            parents: for each level above the first, the row there of every patch.
        """
        features = patches
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features))
        features = features.flatten(2).transpose(1, 2) + self.rates(rate)[:, None]
        features = features + functional.leaky_relu(self.mix(features))
        local = self.encoding(features).transpose(1, 2).unflatten(1, (2, -1))
        mean = local[:, 0] + self.gain[rate] * analyse(patches, transform).flatten(2)
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
        """Observations of a level above, from the mean features of the patches of each row."""
        count = parent.bincount()[:, None]
        mean = features.new_zeros(len(count), features.shape[1]).index_add(0, parent, features) / count
        found = head(mean).unflatten(1, (2, -1))
        return found[:, 0], found[:, 1] + math.log(START_STD)


def analyse(
    patches: Float[Tensor, "r channels *patch"], transform: Float[Tensor, "latent channels *block"]
) -> Float[Tensor, "r latent *positions"]:
    """Analysis by the transform's transpose, which is its inverse while its rows are orthogonal, as at the start."""
    weight = transform.detach().flatten(1)
    positions = tuple(side // part for side, part in zip(patches.shape[2:], transform.shape[2:], strict=True))
    observed = split(patches, positions).flatten(2) @ (weight / weight.square().sum(1, keepdim=True).clamp_min(1e-12)).T
    return observed.transpose(1, 2).unflatten(2, positions)
