"""The search for coefficients that are better together: descent through soft rounding (arXiv 2006.09952), tile by tile.

The networks stay as they are. A tile's contexts are its own, and its pixels depend on its neighbours, which are held
fixed while it is searched; so memory is that of one tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.training.draws import key

from .levels import Levels
from .network import LAGRANGIAN, GridsNetwork
from .tiles import COARSE, Tile, slices

LEARNING_RATE = 0.03
SOFTEST, HARDEST = 0.3, 0.1
"""Temperature of the rounding at the search's beginning and end."""
NOISE = 0.6
"""Width of the noise at the beginning, in steps; half of it is left at the end."""
HARD = 0.25
"""Share of the search at its end that rounds outright, with the gradient of the identity."""
AROUND = 1
"""Places of the coarse level around a tile whose pixels count too."""


def soft_rounded(values: Float[Tensor, "*shape"], temperature: float) -> Float[Tensor, "*shape"]:
    """Rounding with a slope: the lower the temperature, the steeper halfway between whole numbers."""
    below = values.floor()
    return below + 0.5 + 0.5 * torch.tanh((values - below - 0.5) / temperature) / math.tanh(0.5 / temperature)


def search(
    network: GridsNetwork,
    targets: Levels,
    latents: Levels,
    tiles: Sequence[Tile],
    pixels: Callable[[Tile], Float[Tensor, "1 3 h w"]],
    step: float,
    steps: int,
    thrift: float,
) -> Levels:
    """Better targets for the coefficients of tiles; rounding them gives what the search has found.

    Args:
        network: the model's, in single precision.
        targets: the coefficients before, for a step of 1.
        latents: a first choice of whole numbers, from which the search begins.
        tiles: the tiles.
        pixels: gives a box of a picture, -127.5..127.5.
        step: the step.
        steps: descents of each tile.
        thrift: what a bit is worth relative to training.
    """
    found = Levels(targets.grids, torch.float32)
    now = Levels(targets.grids, torch.float32)
    for whole, rounded in zip((now, found), (latents, latents), strict=True):
        for mine, theirs in zip([*whole.coarse, *whole.fine], [*rounded.coarse, *rounded.fine], strict=True):
            mine.copy_(theirs)
    for number, tile in enumerate(tiles):
        generator = torch.Generator().manual_seed(key(0, number, "search"))
        best = _TileSearch(network, targets, now, tile, pixels, step, thrift).run(steps, generator)
        now.put([tile], *best)
    for mine, chosen in zip([*found.coarse, *found.fine], [*now.coarse, *now.fine], strict=True):
        mine.copy_(chosen * step)
    return found


class _TileSearch:
    """The search in one tile."""

    def __init__(
        self,
        network: GridsNetwork,
        targets: Levels,
        now: Levels,
        tile: Tile,
        pixels: Callable[[Tile], Float[Tensor, "1 3 h w"]],
        step: float,
        thrift: float,
    ):
        self.network, self.step, self.thrift = network, torch.tensor([step]), thrift
        grid = now.grids[tile.item]
        self.around = grid.widened(tile.box, AROUND)
        self.inside = tuple((a - at, b - at) for (a, b), (at, _) in zip(tile.box, self.around, strict=True))
        self.surround = [level.float() for level in now.gather([Tile(tile.item, self.around)])]
        self.pixels = pixels(Tile(tile.item, self.around))
        chosen = [level.float() for level in now.gather([tile])]
        exact = [level.float() / step for level in targets.gather([tile])]
        # Where the first choice is not the nearest whole number, the search starts at its edge.
        self.values = [(e.clamp(c - 0.45, c + 0.45)).requires_grad_() for e, c in zip(exact, chosen, strict=True)]
        self.best = chosen
        self.least = float(self._loss(chosen))

    def run(self, steps: int, generator: torch.Generator) -> list[Tensor]:
        """The best whole numbers found."""
        optimizer = torch.optim.Adam(self.values, lr=LEARNING_RATE)
        for number in range(steps):
            progress = number / steps
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (0.05 + 0.475 * (1 + math.cos(math.pi * progress)))
            hard = progress >= 1 - HARD
            loss = self._loss([self._rounded(v, progress, generator, hard=hard) for v in self.values])
            if hard:
                self._keep(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            self._keep(float(self._loss([value.round() for value in self.values])))
        return self.best

    def _keep(self, loss: float) -> None:
        if loss < self.least:
            self.least, self.best = loss, [value.detach().round() for value in self.values]

    def _rounded(self, values: Tensor, progress: float, generator: torch.Generator, *, hard: bool) -> Tensor:
        if hard:
            return values + (values.round() - values).detach()
        temperature = SOFTEST + (HARDEST - SOFTEST) * progress / (1 - HARD)
        noise = (torch.rand(values.shape, generator=generator) - 0.5) * NOISE * (1 - 0.5 * progress)
        return soft_rounded(soft_rounded(values, temperature) + noise, temperature)

    def _loss(self, values: Sequence[Tensor]) -> Tensor:
        """Bits, and squared error in the bits that it is worth."""
        bits = self.network.bits(values[0], values[1], self.step).sum()
        levels = []
        for level, mine, scale in zip(self.surround, values, (1, COARSE), strict=True):
            whole = level.clone()
            whole[..., *slices(self.inside, scale)] = mine
            levels.append(whole)
        drawn = self.network.synthesise(levels[0], levels[1], self.step)
        squared = (drawn - self.pixels).square().sum()
        return bits + squared / (LAGRANGIAN * self.thrift * float(self.step) ** 2)
