"""The posteriors of a training set: a row of numbers for each datum and rate, each with its own optimizer state."""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..model.adam import adam


class Posteriors(nn.Module):
    """Differences of each posterior from the amortised one, in mean and log standard deviation, [rows, 2, size].

    A step reads and updates only the rows of its batch, with a bias-corrected Adam that counts the visits of each row.
    A row must stay on one process, so that processes exchange rows only for a checkpoint.
    """

    def __init__(self, rows: int, size: int):
        super().__init__()
        self.table = torch.zeros(rows, 6, size)  # value, first and second moment of both
        self.visits = torch.zeros(rows)
        self.owned = torch.zeros(rows, dtype=torch.bool)

    def leaf(self, index: Int[Tensor, " b"], device: torch.device) -> Float[Tensor, "b 2 size"]:
        """A copy of some rows that gathers gradients: means, then log standard deviations."""
        return self.table[index, :2].to(device).requires_grad_()

    @torch.no_grad()
    def update(self, index: Int[Tensor, " b"], gradient: Float[Tensor, "b 2 size"], rate: float) -> None:
        """One optimizer step of some rows.

        Args:
            index: the rows, each at most once.
            gradient: that of their :meth:`leaf`, of the mean loss over the batch.
            rate: learning rate.
        """
        gradient = len(index) * gradient.to(self.table.device)  # of each datum's own loss
        self.owned[index] = True
        self.visits[index] += 1
        first, second = self.table[index, 2:4], self.table[index, 4:6]
        change = adam(gradient, first, second, self.visits[index][:, None, None])
        self.table[index] = torch.cat([self.table[index, :2] - rate * change, first, second], 1)

    def get_extra_state(self) -> Float[Tensor, "rows all"]:
        """The visits and the whole table, for a checkpoint: they are no parameters. Every process takes part."""
        state = torch.cat([self.visits[:, None], self.table.flatten(1)], 1)
        if dist.is_initialized():
            state = state * self.owned[:, None]
            dist.all_reduce(state)
        return state

    def set_extra_state(self, state: Float[Tensor, "rows all"]) -> None:
        """Restore what :meth:`get_extra_state` gave.

        Raises:
            ValueError: it is of another number of data or another size of posteriors.
        """
        if state.shape != (len(self.visits), 1 + self.table[0].numel()):
            raise ValueError(f"posteriors of shape {tuple(state.shape)} belong to other data or another model")
        self.visits.copy_(state[:, 0])
        self.table.copy_(state[:, 1:].view_as(self.table))
