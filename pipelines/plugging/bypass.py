"""The bypass: rows of words are moved before a layer projects them to keys and values; and the hooks that move them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .sites import FEED

SLICE = "_mapfield_slice"
"""Key of a fused projection's ``__dict__`` under which first and last column of its keys and values lie."""

FUSED = ("to_kv", "to_qkv", "to_added_qkv", "to_qkv_mlp_proj")
"""Names of projections to more than keys or values alone."""


class Moves(NamedTuple):
    """How a site's rows move: x' = x + |x| direction. Tensors alone, so that a compiled network needs no new graph."""

    index: Int[Tensor, "b s"]
    """For each place of each prompt its row of ``directions``, 0 where no word is."""
    directions: Float[Tensor, "n w"]

    def moved(self, rows: Tensor) -> Tensor:
        """The rows [b, r, w], of which the first s are text; all but those of words stay bit for bit the same."""
        text = rows[:, : self.index.shape[1]]
        exact = torch.promote_types(rows.dtype, torch.float32)  # The length of a row overflows in fp16.
        length = torch.linalg.vector_norm(text, dim=-1, keepdim=True, dtype=exact)
        step = (length * self.directions.to(exact)[self.index]).to(rows.dtype)
        text = torch.where((self.index > 0)[..., None], text + step, text)
        return text if text.shape[1] == rows.shape[1] else torch.cat([text, rows[:, text.shape[1] :]], dim=1)


def projections(attention: nn.Module, leaves: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    """The projections of an attention that read text, by name.

    Args:
        attention: the attention.
        leaves: names of those that it may have.
    """
    inner = int(attention.inner_dim)  # pyright: ignore[reportArgumentType]
    for leaf in leaves:
        module = attention._modules.get(leaf)
        if module is not None:
            if leaf in FUSED:
                module.__dict__[SLICE] = (0, 2 * inner) if leaf == "to_kv" else (inner, 3 * inner)
            yield leaf, module


def hook(leaf: str, module: nn.Module) -> RemovableHandle:
    """Put the hook on the projection ``module`` with the name ``leaf``."""
    if leaf in FUSED:
        return module.register_forward_hook(move_fused)
    return module.register_forward_pre_hook(move)


def move(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Pre-hook of a projection to keys or to values."""
    moves = module.__dict__.get(FEED)
    return None if moves is None else (moves.moved(args[0]), *args[1:])


def move_fused(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """Hook of a projection to more than keys and values, of which only these two are computed anew."""
    moves = module.__dict__.get(FEED)
    if moves is None:
        return None
    start, end = module.__dict__[SLICE]
    count = moves.index.shape[1]
    text = output[:, :count]
    again = module.forward(moves.moved(args[0][:, :count]))[..., start:end]
    again = torch.where((moves.index > 0)[..., None], again, text[..., start:end])
    text = torch.cat([text[..., :start], again, text[..., end:]], dim=-1)
    return torch.cat([text, output[:, count:]], dim=1)
