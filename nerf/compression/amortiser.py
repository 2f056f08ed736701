"""The amortised start of a posterior: one pass over the patches instead of hundreds of optimizer steps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from .descriptions import Description

START_STD = 0.9
"""Standard deviation of a posterior that knows nothing yet, at the start of training, where priors have 1."""


class Amortiser(nn.Module):
    """Predicts the first level's posterior of every patch at a given rate; the upsampler's mirror image.

    A linear analysis of every block, with gains and standard deviations for each rate, and a network that corrects it.
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
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        for head in (self.encoding, self.weights):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self, patches: Float[Tensor, "r channels *patch"], rate: Int[Tensor, " r"]
    ) -> tuple[Float[Tensor, "r columns"], Float[Tensor, "r columns"]]:
        """Means and log standard deviations."""
        features = patches
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features))
        features = features.flatten(2).transpose(1, 2) + self.rates(rate)[:, None]
        features = features + functional.leaky_relu(self.mix(features))
        local = self.encoding(features).transpose(1, 2).unflatten(1, (2, -1))
        mean = local[:, 0] + self.gain[rate] * self.analysis(patches).flatten(2)
        log_std = local[:, 1] + self.log_std[rate]
        whole = self.weights(features.mean(1)).unflatten(1, (2, -1))
        return (
            torch.cat([whole[:, 0], mean.flatten(1)], 1),
            torch.cat([whole[:, 1] + math.log(START_STD), log_std.flatten(1)], 1),
        )
