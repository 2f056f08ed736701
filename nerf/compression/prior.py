"""Prior learning: coordinate descent over shared parameters, posteriors and priors, as a task for the one trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mappers.draws import Draws, key
from mappers.train_config import TrainConfig, learning_rate

from .amortiser import START_STD, Amortiser
from .descriptions import Description, Tiling
from .gaussians import divergence_bits
from .network import Representation, split
from .posteriors import Posteriors
from .priors import Priors
from .start import start_linear

LATENT_RATE = 4.0
"""Learning rate of the posteriors relative to the shared parameters'."""
TRANSFORM_RATE = 0.05
"""Learning rate of the linear parts, which start near their end, relative to the others'."""


@dataclass
class Batch:
    """Rows of the table and the patches that they represent."""

    rows: Int[Tensor, " b"]
    rates: Int[Tensor, " b"]
    patches: Float[Tensor, "b r channels points"]


class PriorTask:
    """Squared error plus beta times information (arXiv 2309.17182, section 3.3), at every rate at once.

    The published method learns one model for each rate from the whole set at every step. Here a step takes a
    minibatch; shared parameters serve all rates, which differ in their posteriors, priors and beta only.

    Args:
        description: the data's.
        data: values of the training set, all of one shape.
        config: the trainer's settings; `batch_size` must be a multiple of the number of rates.
        round_steps: steps between updates of the priors and of beta.
        gain: how strongly beta follows the information.
    """

    def __init__(
        self,
        description: Description,
        data: Float[Tensor, "n channels ..."],
        config: TrainConfig,
        *,
        round_steps: int = 50,
        gain: float = 0.5,
    ):
        rates = len(description.budgets)
        if config.batch_size % rates or config.batch_size // rates > len(data):
            raise ValueError(
                f"batch_size {config.batch_size} must be a multiple of the {rates} rates and at most"
                f" {rates} x {len(data)} data"
            )
        self.description, self.config, self.round_steps, self.gain = description, config, round_steps, gain
        self.tiling = description.tiling(tuple(data.shape[2:]))
        self.patches = torch.stack([split(datum, self.tiling.grid, description.patch) for datum in data]).flatten(3)
        self.network = Representation(description)
        self.spread, self.repeats = spread_columns(description, self.tiling)
        self.amortiser = Amortiser(description)
        self.posteriors = Posteriors(rates * len(data), len(self.spread))
        self.priors = Priors(rates, len(self.repeats))
        start_linear(description, data, self.network, self.amortiser, self.priors)
        self.rates = {"network.transform": TRANSFORM_RATE, "amortiser.analysis": TRANSFORM_RATE}
        self.modules: Mapping[str, nn.Module] = {
            "network": self.network, "amortiser": self.amortiser, "posteriors": self.posteriors, "priors": self.priors
        }  # fmt: skip
        self.updated = 0

    def batch(self, draws: Draws) -> Batch:
        """A slot of the batch has a fixed rate and its own share of the data, so a datum stays on one process."""
        if draws.step % self.round_steps == 0 and draws.step != self.updated:
            self.updated = draws.step
            self.finish_round()
        rates = len(self.description.budgets)
        groups = self.config.batch_size // rates
        share = len(self.patches) // groups
        epoch, place = divmod(draws.step, share)
        chosen = []
        for slot in draws.indices:
            generator = torch.Generator().manual_seed(key(draws.seed, epoch, slot, "order"))
            chosen.append(int(torch.randperm(share, generator=generator)[place]) * groups + slot // rates)
        data, rate = torch.tensor(chosen), torch.tensor(draws.indices) % rates
        rows = rate * len(self.patches) + data
        return Batch(rows, rate.to(draws.device), self.patches[data].to(draws.device))

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Batch, draws: Draws) -> dict[str, Tensor]:
        rates, spread = batch.rates, self.spread.to(batch.rates.device)
        mean, log_std = self.posterior(modules, batch, draws)
        bits = divergence_bits(mean, log_std, self.priors[rates][:, spread])
        self.priors.observe(rates, spread, mean, log_std, bits)
        sample = mean + log_std.exp() * draws.normal("latent", (mean.shape[1],))
        latents, parents = self.levels(sample)
        drawn = modules["network"](latents, parents, [self.tiling.grid] * len(rates)).view(batch.patches.shape)
        squared, bits = (drawn - batch.patches).square().flatten(1), bits.sum(1)
        weight = self.priors.log_beta[rates].exp() * math.log(2)
        figures = {"loss": (squared.sum(1) + weight * bits).mean()}
        for number in range(len(self.description.budgets)):
            figures[f"psnr_{number}"] = -10 * squared[rates == number].mean().detach().log10()
            figures[f"bits_{number}"] = bits[rates == number].mean().detach()
        return figures

    def posterior(
        self, modules: Mapping[str, Callable[..., Any]], batch: Batch, draws: Draws
    ) -> tuple[Float[Tensor, "b size"], Float[Tensor, "b size"]]:
        """Mean and log standard deviation: the amortised ones of the first level, and each datum's difference."""
        count, patches = batch.patches.shape[:2]
        rate = LATENT_RATE * learning_rate(self.config, draws.step)
        mean, log_std = self.posteriors.rows(batch.rows, rate, batch.patches.device)
        tiles = batch.patches.flatten(0, 1).unflatten(2, self.description.patch)
        first, first_log_std = modules["amortiser"](tiles, batch.rates.repeat_interleave(patches))
        first, first_log_std = first.reshape(count, -1), first_log_std.reshape(count, -1)
        above = mean.shape[1] - first.shape[1]
        mean = mean + functional.pad(first, (0, above))
        return mean, log_std + functional.pad(first_log_std, (0, above), value=math.log(START_STD))

    def levels(self, sample: Float[Tensor, "b size"]) -> tuple[list[Tensor], list[Tensor]]:
        """Flat rows as the network takes them: each level's rows of all data in turn, and who belongs to whom."""
        rows, columns = self.tiling.rows, self.description.columns
        parts = sample.split([count * width for count, width in zip(rows, columns, strict=True)], dim=1)
        latents = [part.reshape(-1, width) for part, width in zip(parts, columns, strict=True)]
        offsets = torch.arange(len(sample), device=sample.device)[:, None]
        parents = [
            (torch.tensor(parent, device=sample.device) + offsets * count).flatten()
            for parent, count in zip(self.tiling.parents(), rows[1:], strict=True)
        ]
        return latents, parents

    def finish_round(self) -> None:
        """Fit the priors to the posteriors, and beta to the budgets."""
        patches = self.tiling.rows[0]
        self.priors.fit(self.repeats, [bits * patches for bits in self.description.budgets], self.gain)


def spread_columns(description: Description, tiling: Tiling) -> tuple[Int[Tensor, " size"], Int[Tensor, " columns"]]:
    """The prior's column of every latent number of a datum, and how often each column occurs."""
    spread, repeats, first = [], [], 0
    for rows, width in zip(tiling.rows, description.columns, strict=True):
        spread.append((torch.arange(width) + first).repeat(rows))
        repeats.append(torch.full((width,), rows))
        first += width
    return torch.cat(spread), torch.cat(repeats)
