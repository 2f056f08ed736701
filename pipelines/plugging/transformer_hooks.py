"""The hooks on one diffusion transformer, or on a ControlNet of one, which move the rows of words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import bypass
from .bypass import SLICE, Moves
from .checkpointing import forget_replay, replay
from .conventions import CONVENTIONS
from .encoders import Places, recognized
from .hooks import OWN, Arguments, NetworkHooks, is_compiled, unwrapped
from .sites import FEED

CELLS = 32
"""Z-Image fills the picture up to a multiple of so many places."""


class DirectionSource(Protocol):
    """What the hooks of a transformer ask a socket for."""

    @property
    def records(self) -> Sequence[Places]:
        """Places of words in encoded prompts."""
        ...

    def directions(self, word: Any, time: Tensor) -> Tensor:
        """The directions [sites, width] of a word at a noise level."""
        ...


Row = tuple[Places, DirectionSource] | None
"""A row of the batch: places of its words, and the socket that recorded them; None for prompts without words."""


class TransformerHooks(NetworkHooks[DirectionSource]):
    """Moves the rows of words at the sites of one network.

    Args:
        net: a transformer or a ControlNet of one, of a class in `CONVENTIONS`.
        layers: number of each of the transformer's sites, by name. A ControlNet has the first of them.
    """

    def __init__(self, net: nn.Module, layers: Mapping[str, int]):
        super().__init__(net)
        self.convention = CONVENTIONS[type(self.net).__name__]
        leaves = self.convention.sites(self.net)
        self.sites = [(self.net.get_submodule(n), leaves[n], layers[n]) for n in leaves if n in layers]
        self.count = len(layers)
        self.last: Tensor | None = None
        """Directions of the last call with a word."""

    @classmethod
    def of(cls, net: nn.Module, layers: Mapping[str, int]) -> TransformerHooks:
        """The network's own, which is made at the first request."""
        return unwrapped(net).__dict__.get(OWN) or cls(net, layers)

    def _projections(self) -> Iterator[tuple[str, nn.Module]]:
        for attention, leaves, _ in self.sites:
            yield from bypass.projections(attention, leaves)

    def _hook(self, leaf: str, module: nn.Module) -> RemovableHandle:
        return bypass.hook(leaf, module)

    def _detach(self) -> None:
        super()._detach()
        forget_replay(self.net)
        for _, module in self._projections():
            module.__dict__.pop(SLICE, None)

    def _feed(self, args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]) -> Arguments | None:
        if torch.is_grad_enabled():
            replay(self.net, self._projections)
        if type(getattr(self.net, "_cache_config", None)).__name__ == "TextKVCacheConfig":
            raise ValueError(
                f"{type(self.net).__name__} keeps keys and values of texts from its first step on; call "
                "disable_cache() on it, or unplug the words, which differ between steps"
            )
        texts = given.get(self.convention.text)
        # A ControlNet may read no text.
        rows = [] if texts is None else self._rows(texts)
        there = any(row is not None for row in rows)
        # For a compiled network a call without words differs in its numbers alone, so that no graph is made for it.
        alike = self.last is not None and bool(rows) and self.holder is not None and is_compiled(self.holder)
        moves = self._moves(rows, given) if there or alike else None
        for attention, leaves, layer in self.sites:
            for _, module in bypass.projections(attention, leaves):
                module.__dict__[FEED] = None if moves is None else moves[layer]
        return None

    def _rows(self, texts: Any) -> list[Row]:
        """For each row of the batch the places of its words."""
        given = (texts,) if isinstance(texts, Tensor) else tuple(texts)
        if not all(isinstance(text, Tensor) for text in given):
            raise ValueError(
                f"{type(self.net).__name__} is called with several pictures for a prompt, where learned words are not "
                "known; unplug them"
            )
        return self._recorded(given, lambda every: recognized(list(texts), every))

    def _moves(self, rows: list[Row], given: dict[str, Any]) -> list[Moves]:
        """For each site how the words' rows move there."""
        texts = given[self.convention.text]
        device = texts[0].device
        times = torch.as_tensor(given[self.convention.timestep], device=device)
        # Wan 2.2 has a noise level for each cell; those of a given first picture are 0.
        times = times.amax(1) if times.ndim == 2 else times.reshape(-1)
        levels = self.convention.noise_level(times).expand(len(rows))
        offsets = [self._offset(given, i) for i in range(len(rows))]
        length = max(len(text) + offset for text, offset in zip(texts, offsets, strict=True))
        index = torch.zeros(len(rows), length, dtype=torch.long, device=device)
        tables: list[Tensor] = []
        known: dict[tuple[int, float], int] = {}
        for i, row in enumerate(rows):
            if row is None:
                continue
            places, socket = row
            for at, word in zip(places.at.tolist(), places.words, strict=True):
                key = id(word), float(levels[i])
                if key not in known:
                    tables.append(socket.directions(word, levels[i]))
                    known[key] = len(tables)
                index[i, at + offsets[i]] = known[key]
        if tables:
            directions = torch.stack([torch.zeros_like(tables[0]), *tables], dim=1)
            self.last = directions.detach()
        else:
            assert self.last is not None
            directions = torch.zeros_like(self.last)
        return [Moves(index, directions[layer]) for layer in range(self.count)]

    def _offset(self, given: dict[str, Any], row: int) -> int:
        """Places before the text."""
        if not self.convention.picture_first:
            return 0
        _, frames, height, width = given["x"][row].shape
        side, depth = given.get("patch_size", 2), given.get("f_patch_size", 1)
        cells = (frames // depth) * (height // side) * (width // side)
        return cells + -cells % CELLS
