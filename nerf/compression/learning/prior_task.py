"""Prior learning: coordinate descent over shared parameters, posteriors and priors, as a task of the trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mappers.quality import psnr_of
from mappers.training.draws import Draws, key
from mappers.training.train_config import TrainConfig, learning_rate
from mappers.training.trainer import Prepared

from ..description import Description
from ..model.amortiser import Amortiser
from ..model.gaussians import divergence_bits, posterior_from_observation
from ..model.network import Representation, split
from ..model.priors import Priors
from .crops import Crops
from .linear_start import start_linear
from .posteriors import Posteriors

LATENT_RATE = 4.0
"""Learning rate of the posteriors relative to that of the shared parameters."""
TRANSFORM_RATE = 0.05
"""Learning rate of the linear transform relative to the other shared parameters; it starts near its optimum."""
STARTED = 20_000
"""Blocks of crops whose principal components the transform starts with."""


@dataclass
class Batch:
    """Data of a step."""

    rates: Int[Tensor, " b"]
    """Rate of each datum."""
    patches: Float[Tensor, "b r channels points"]
    rows: Int[Tensor, " b"] | None = None
    """Row of each datum in the table of posteriors; None where crops are drawn."""
    own: Float[Tensor, "b 2 size"] | None = None
    """These rows, from :meth:`Posteriors.leaf`."""


class PriorTask:
    """Squared error plus beta times information (arXiv 2309.17182, section 3.3), at every rate at once.

    The published method learns one model for each rate from the whole set at every step. Here a step takes a
    minibatch; shared parameters serve all rates, which differ in their posteriors, priors and beta only.

    Each datum of a fixed set has its own posterior, as published. Where every step draws new crops, no datum returns:
    its posterior is the amortised one.

    Args:
        description: of the data and the network.
        data: values of the training set, all of one shape; or crops of it.
        config: the trainer's settings; `batch_size` must be a multiple of the number of rates.
        round_steps: steps between updates of the priors and of beta.
        gain: change of log beta relative to the logarithm of information over budget.
    """

    def __init__(
        self,
        description: Description,
        data: Float[Tensor, "n channels ..."] | Crops,
        config: TrainConfig,
        *,
        round_steps: int = 50,
        gain: float = 0.5,
    ):
        rates = len(description.budgets)
        self.crops = data if isinstance(data, Crops) else None
        if isinstance(data, Crops):
            blocks = math.prod(size // side for size, side in zip(data.shape, description.block, strict=True))
            data = data.sample(-(-STARTED // blocks))
        if config.batch_size % rates or config.batch_size // rates > len(data):
            raise ValueError(
                f"batch_size {config.batch_size} must be a multiple of the {rates} rates and at most"
                f" {rates} x {len(data)} data"
            )
        self.description, self.config, self.round_steps, self.gain = description, config, round_steps, gain
        self.tiling = description.tiling(tuple(data.shape[2:]))
        self.network = Representation(description)
        self.amortiser = Amortiser(description)
        self.priors = Priors(description)
        start_linear(description, data, self.network, self.amortiser, self.priors)
        self.modules: dict[str, nn.Module] = {
            "network": self.network, "amortiser": self.amortiser, "priors": self.priors
        }  # fmt: skip
        if self.crops is None:
            self.patches = split(data, self.tiling.grid).flatten(3)
            size = sum(rows * columns for rows, columns in zip(self.tiling.rows, description.columns, strict=True))
            self.posteriors = Posteriors(rates * len(data), size)
            self.modules["posteriors"] = self.posteriors
        self.rates = {"network.transform": TRANSFORM_RATE}

    def begin_step(self, modules: Prepared, draws: Draws) -> None:
        """End a round of ``round_steps`` steps: fit the priors and beta to it."""
        if draws.step and draws.step % self.round_steps == 0:
            self.finish_round()

    def batch(self, draws: Draws) -> Batch:
        """Data of a step. A place in the batch has its own rate and share of the data: a datum stays on one process."""
        rates = len(self.description.budgets)
        rate = torch.tensor(draws.indices) % rates
        if self.crops is not None:
            generators = [torch.Generator().manual_seed(key(draws.seed, draws.step, i, "crop")) for i in draws.indices]
            crops = torch.stack([self.crops.draw(generator) for generator in generators])
            patches = split(crops, self.tiling.grid).flatten(3)
            return Batch(rate.to(draws.device), patches.to(draws.device))
        groups = self.config.batch_size // rates
        share = len(self.patches) // groups
        epoch, place = divmod(draws.step, share)
        chosen = []
        for slot in draws.indices:
            generator = torch.Generator().manual_seed(key(draws.seed, epoch, slot, "order"))
            chosen.append(int(torch.randperm(share, generator=generator)[place]) * groups + slot // rates)
        data = torch.tensor(chosen)
        rows = rate * len(self.patches) + data
        own = self.posteriors.leaf(rows, draws.device)
        return Batch(rate.to(draws.device), self.patches[data].to(draws.device), rows, own)

    def loss(self, modules: Prepared, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """The loss in squared error; of each rate, PSNR of a range of 1 in dB and information of a datum in bits."""
        rates = batch.rates
        components, found = self.observed(modules, batch)
        spread = self.priors.spread(components, self.tiling.rows)
        prior = self.priors.at(rates, spread)
        mean, log_std = posterior_from_observation(prior, *found)
        if batch.own is not None:
            mean, log_std = mean + batch.own[:, 0], log_std + batch.own[:, 1]
        bits = divergence_bits(mean, log_std, prior)
        component_bits = self.priors.costs(rates).gather(1, components).sum(1)
        self.priors.observe(rates, spread, mean, log_std, bits, component_bits)
        sample = mean + log_std.exp() * draws.normal("latent", (mean.shape[1],))
        parents = self.parents(len(rates), sample.device)
        values = modules["network"](self.levels(sample), parents, [self.tiling.grid] * len(rates))
        values = values.view(batch.patches.shape)
        squared, bits = (values - batch.patches).square().flatten(1), bits.sum(1) + component_bits
        weight = self.priors.log_beta[rates].exp() * math.log(2)
        figures = {"loss": (squared.sum(1) + weight * bits).mean()}
        for number in range(len(self.description.budgets)):
            figures[f"psnr_{number}"] = psnr_of(squared[rates == number].mean().detach())
            figures[f"bits_{number}"] = bits[rates == number].mean().detach()
        return figures

    def after_backward(self, batch: Batch, draws: Draws) -> None:
        """Update the posteriors of the batch; the trainer's optimizer updates the shared parameters only."""
        if batch.rows is not None and batch.own is not None:
            assert batch.own.grad is not None
            self.posteriors.update(batch.rows, batch.own.grad, LATENT_RATE * learning_rate(self.config, draws.step))

    def observed(
        self, modules: Prepared, batch: Batch
    ) -> tuple[Int[Tensor, "b patches"], tuple[Float[Tensor, "b size"], Float[Tensor, "b size"]]]:
        """The prior's component of each patch, and the amortiser's observations of all latent numbers."""
        count, patches = batch.patches.shape[:2]
        tiles = batch.patches.flatten(0, 1).unflatten(2, self.description.patch)
        rates = batch.rates.repeat_interleave(patches)
        found = modules["amortiser"](tiles, rates, self.network.transform.weight, self.parents(count, tiles.device))
        with torch.no_grad():
            components = self.priors.choose(rates, *found[0]).view(count, patches)
        mean, log_std = (torch.cat([p.reshape(count, -1) for p in parts], 1) for parts in zip(*found, strict=True))
        return components, (mean, log_std)

    def levels(self, sample: Float[Tensor, "b size"]) -> list[Tensor]:
        """Latent numbers as the network takes them: for each level, the rows of all data in turn."""
        rows, columns = self.tiling.rows, self.description.columns
        parts = sample.split([count * width for count, width in zip(rows, columns, strict=True)], dim=1)
        return [part.reshape(-1, width) for part, width in zip(parts, columns, strict=True)]

    def parents(self, count: int, device: torch.device) -> list[Int[Tensor, " _r"]]:
        """For each level above the first, the row there of every patch of ``count`` data."""
        offsets = torch.arange(count, device=device)[:, None]
        return [
            (torch.tensor(parent, device=device) + offsets * rows).flatten()
            for parent, rows in zip(self.tiling.parents(), self.tiling.rows[1:], strict=True)
        ]

    def finish_round(self) -> None:
        """Fit the priors to the posteriors of the round, and beta to the budgets."""
        patches = self.tiling.rows[0]
        self.priors.fit([bits * patches for bits in self.description.budgets], self.gain)
