"""The posteriors of a training set: one row of numbers for each datum and rate, each with its own optimizer state."""

from __future__ import annotations

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..model.adam import adam


class Posteriors(nn.Module):
    """What each datum's posterior differs by from the amortised one: mean and log standard deviation, [rows, 2, size].

    A step reads and updates only the rows of its batch, with a bias-corrected Adam that counts a row's own visits. A
    datum must stay on one process: then rows travel between processes only for a checkpoint.
    """

    def __init__(self, rows: int, size: int):
        super().__init__()
        self.table = torch.zeros(rows, 6, size)  # value, first and second moment of both
        self.visits = torch.zeros(rows)
        self.owned = torch.zeros(rows, dtype=torch.bool)

    def rows(
        self, index: Int[Tensor, " b"], rate: float, device: torch.device
    ) -> tuple[Float[Tensor, "b size"], Float[Tensor, "b size"]]:
        """Numbers to differentiate; the backward pass updates them at learning rate ``rate``. Rows must differ."""
        self.owned[index] = True
        leaf = self.table[index, :2].to(device).requires_grad_()
        leaf.register_post_accumulate_grad_hook(lambda leaf: self._update(index, leaf, rate))
        return leaf[:, 0], leaf[:, 1]

    @torch.no_grad()
    def _update(self, index: Int[Tensor, " b"], leaf: Tensor, rate: float) -> None:
        assert leaf.grad is not None
        gradient, leaf.grad = len(index) * leaf.grad.to(self.table.device), None  # of a datum, not of their mean
        self.visits[index] += 1
        first, second = self.table[index, 2:4], self.table[index, 4:6]
        change = adam(gradient, first, second, self.visits[index][:, None, None])
        self.table[index] = torch.cat([self.table[index, :2] - rate * change, first, second], 1)

    def get_extra_state(self) -> Float[Tensor, "rows all"]:
        """The visits and the table, whole: a checkpoint's part that is not a parameter. Every process takes part."""
        state = torch.cat([self.visits[:, None], self.table.flatten(1)], 1)
        if dist.is_initialized():
            state = state * self.owned[:, None]
            dist.all_reduce(state)
        return state

    def set_extra_state(self, state: Float[Tensor, "rows all"]) -> None:
        if state.shape != (len(self.visits), 1 + self.table[0].numel()):
            raise ValueError(f"posteriors of shape {tuple(state.shape)} belong to other data or another model")
        self.visits.copy_(state[:, 0])
        self.table.copy_(state[:, 1:].view_as(self.table))
