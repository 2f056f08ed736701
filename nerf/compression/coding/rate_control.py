"""Rate control: what indices are expected to cost, and the beta and the indices to send that a bit budget asks for.

An encoder minimizes squared error plus beta times information (arXiv 2309.17182, section 3.3). A larger beta gives less
information and a shorter file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.gaussians import divergence_nats, explained_nats, shift_log_beta
from .indices import IndexCode

BISECTIONS = 20
"""Steps of a search for a root."""
LARGEST_INFORMATION = 32
"""Information of a block in bits from which on an index is expected to cost the same."""


def expected_index_bits(code: IndexCode, candidate_bits: int) -> Callable[[Tensor], Tensor]:
    """The function from a block's information in bits to the expected bits of its index.

    The exponent of an index is assumed to be normal: its mean is 0.8 times the information, its standard deviation 0.6
    times the information but at most 3, and it lies within the candidates' bits. This is a fit to coded blocks.
    """
    exponents = torch.arange(candidate_bits, dtype=torch.float32)
    sizes = torch.tensor([float(code.size((1 << exponent) - 1)) for exponent in range(candidate_bits)])
    information = torch.arange(LARGEST_INFORMATION + 1, dtype=torch.float32)[:, None]
    spread = (0.6 * information).clamp(0.1, 3.0)
    table = (-0.5 * ((exponents - 0.8 * information) / spread).square()).softmax(1) @ sizes

    def bits(information: Tensor) -> Tensor:
        place = information.clamp(0, LARGEST_INFORMATION - 1e-3)
        low = place.long()
        return torch.lerp(table[low], table[low + 1], place - low)

    return bits


@dataclass(frozen=True)
class UncodedLatents:
    """Posteriors of the latent numbers that are not coded yet, in units of the prior."""

    mean: Float[Tensor, " n"]
    log_std: Float[Tensor, " n"]
    place: Int[Tensor, " n"]
    """Place, in the order of coding, of the index that each number is coded with."""
    places: int
    """Number of places, those that are coded already included."""

    def shifted(self, change: Float[Tensor, ""] | Float[Tensor, " places"]) -> UncodedLatents:
        """The posteriors after a change of log beta, of all places or of each."""
        of_each = change.expand(self.places)[self.place]
        return UncodedLatents(*shift_log_beta(self.mean, self.log_std, of_each), self.place, self.places)

    def information(self) -> Float[Tensor, " places"]:
        """Information of each place in bits."""
        return self._summed(divergence_nats(self.mean, self.log_std))

    def explained(self) -> Float[Tensor, " places"]:
        """Squared error that each place saves compared with the prior's mean, in bits at the present beta."""
        return self._summed(explained_nats(self.mean, self.log_std))

    def _summed(self, nats: Float[Tensor, " n"]) -> Float[Tensor, " places"]:
        return torch.zeros(self.places).index_add_(0, self.place, nats) / math.log(2)


@dataclass(frozen=True)
class RatePlan:
    """What a budget asks for."""

    change: Float[Tensor, ""]
    """Change of log beta for all places."""
    block_change: Float[Tensor, " places"]
    """Further change of log beta of each place, so that no block has more information than its candidates can carry."""
    sent: Bool[Tensor, " places"]
    """Which places to send an index for."""


def plan_rate(
    latents: UncodedLatents,
    index_bits: Callable[[Tensor], Tensor],
    budget: float,
    data: Sequence[slice],
    *,
    limits: tuple[float, float],
    block_limits: tuple[Float[Tensor, " places"], Float[Tensor, " places"]],
    capacity: float,
    overrun: float = 1.0,
    sent: Bool[Tensor, " places"] | None = None,
) -> RatePlan:
    """Find the beta at which the indices to send fit a budget, and which these are.

    The paper also lowers beta where a block has information to spare, so that each has its full 12 bits. Here a block
    of less information costs a smaller index, and one beta for all blocks and data spends bits where they save most.

    The paper's posteriors follow beta in thousands of optimizer steps. Here they are shifted to where the new beta has
    them if values are linear in the latent numbers (`shift_log_beta`), so that bisection needs no network.

    Args:
        latents: posteriors of what is not coded yet.
        index_bits: expected bits of an index by the information of its block, from `expected_index_bits`.
        budget: bits for all indices that are still to be sent. Infinite: beta stays, and all are sent.
        data: of each datum, its places that are not coded yet.
        limits: lowest and highest change of log beta.
        block_limits: of each place, lowest and highest further change.
        capacity: the most information of a block in bits.
        overrun: bits that indices took so far, relative to those expected.
        sent: places to send where that is decided already; otherwise it is planned.
    """

    def expected(shifted: UncodedLatents) -> tuple[Tensor, Tensor]:
        """Bits of the index of every place, and which places to send."""
        bits = index_bits(shifted.information())
        if sent is not None:
            return bits, sent
        return bits, leading_gains(shifted.explained() - bits, data, everything=budget == math.inf)

    def excess(change: Tensor) -> Tensor:
        bits, chosen = expected(latents.shifted(change))
        return (bits * chosen).sum() * overrun - budget

    change = torch.zeros(())
    if budget < math.inf:
        change = decreasing_root(excess, torch.tensor(limits[0]), torch.tensor(limits[1]))
    block_change = decreasing_root(
        lambda further: latents.shifted(change + further).information() - capacity, *block_limits
    )
    return RatePlan(change, block_change, expected(latents.shifted(change + block_change))[1])


def leading_gains(
    gain: Float[Tensor, " places"], data: Sequence[slice], *, everything: bool = False
) -> Bool[Tensor, " places"]:
    """Of each datum the leading places that gain most together; with ``everything`` all of them.

    Args:
        gain: what sending a place saves, less what it costs.
        data: places of each datum.
    """
    chosen = torch.zeros(len(gain), dtype=torch.bool)
    for here in data:
        if everything:
            chosen[here] = True
            continue
        together = gain[here].cumsum(0)
        if len(together) and together.max() > 0:
            chosen[here][: int(together.argmax()) + 1] = True
    return chosen


def decreasing_root(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Roots of decreasing functions in ``low..high``, by bisection; where there is none, the end nearer to it."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high
