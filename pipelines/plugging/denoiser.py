"""The hooks on one UNet or ControlNet, which give words their contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..personalization.attention import LayerContexts
from ..personalization.regions import Regions
from . import sites
from .hooks import OWN, Arguments, NetworkHooks, unwrapped
from .prompts import Record, match
from .regions import regions_of
from .sites import CONFINE, FEED, Feed


class RowSource(Protocol):
    """What a denoiser asks a socket for."""

    @property
    def records(self) -> Sequence[Record]:
        """Rows of prompts that hold its words."""
        ...

    def following(self, timestep: float) -> list[float]:
        """Timesteps that come after ``timestep``."""
        ...

    @property
    def pixels(self) -> int:
        """Pixels of the picture along a side of one latent."""
        ...


Row = tuple[Record, RowSource] | None
"""A row of the batch: its record, and the socket that recorded it; None for prompts without words."""


class Denoiser(NetworkHooks[RowSource]):
    """Feeds the sites of one network at each of its calls.

    Args:
        net: a UNet or ControlNet.
        layers: number of each of the UNet's cross-attentions, by name. A ControlNet has the first of them.
    """

    def __init__(self, net: nn.Module, layers: Mapping[str, int]):
        super().__init__(net)
        self.layers = {name: layers[name] for name in sites.cross_attentions(self.net) if name in layers}
        self.attentions = [(self.net.get_submodule(name), layer) for name, layer in self.layers.items()]
        self.confined = [m.register_forward_pre_hook(sites.confine, with_kwargs=True) for m, _ in self.attentions]
        self.regions: tuple[list[Row], Regions | None] | None = None

    @classmethod
    def of(cls, net: nn.Module, layers: Mapping[str, int]) -> Denoiser:
        """The network's own, which is made at the first request."""
        return unwrapped(net).__dict__.get(OWN) or cls(net, layers)

    def _detach(self) -> None:
        super()._detach()
        for handle, (attention, _) in zip(self.confined, self.attentions, strict=True):
            handle.remove()
            attention.__dict__.pop(CONFINE, None)

    def _numbered(self) -> Iterator[tuple[str, nn.Module, int]]:
        for attention, layer in self.attentions:
            for leaf in ("to_k", "to_v", "to_kv"):
                module = attention._modules.get(leaf)
                if module is not None:
                    yield leaf, module, layer

    def _projections(self) -> Iterator[tuple[str, nn.Module]]:
        for leaf, module, _ in self._numbered():
            yield leaf, module

    def _feed(self, args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]) -> Arguments | None:
        texts = given["encoder_hidden_states"]
        rows: list[Row] = self._recorded((texts,), lambda every: match(texts, every))
        if not any(rows):
            self._clear()
            return None
        times = torch.as_tensor(given["timestep"]).flatten().tolist()
        times = times * len(rows) if len(times) == 1 else times
        made = self._contexts(rows, times)
        self._lay_out(made)
        self._confine(rows, given["sample"])
        return self._with_pooled(made, args, kwargs, given.get("added_cond_kwargs"))

    def _contexts(self, rows: list[Row], times: list[float]) -> list[tuple[LayerContexts, int] | None]:
        """For each row the contexts of its table and its index there."""
        made: dict[tuple[int, float], LayerContexts] = {}
        found: list[tuple[LayerContexts, int] | None] = []
        for row, time in zip(rows, times, strict=True):
            if row is None:
                found.append(None)
                continue
            record, socket = row
            key = id(record.table), time
            if key not in made:
                following = [] if time in record.table.cache else socket.following(time)
                made[key] = record.table.at(time, following)
            found.append((made[key], record.index))
        return found

    def _lay_out(self, made: list[tuple[LayerContexts, int] | None]) -> None:
        first = next(one for one in made if one is not None)
        hit = torch.tensor([one is not None for one in made], device=first[0].keys.device)[:, None, None]
        feeds: dict[int, tuple[Feed, Feed]] = {}
        for layer in dict.fromkeys(self.layers.values()):
            parts = []
            for name in ("keys", "values"):
                rows = [
                    getattr(contexts, name)[contexts.read_by(layer)][i]
                    for contexts, i in (one or first for one in made)
                ]
                parts.append(Feed(hit, torch.stack(rows)))
            feeds[layer] = parts[0], parts[1]
        for leaf, module, layer in self._numbered():
            module.__dict__[FEED] = feeds[layer] if leaf == "to_kv" else feeds[layer][leaf == "to_v"]

    def _confine(self, rows: list[Row], sample: Tensor) -> None:
        if self.regions is None or self.regions[0] is not rows:
            factor = next(row[1].pixels for row in rows if row is not None)
            height, width = (side * factor for side in sample.shape[-2:])
            self.regions = rows, regions_of([None if row is None else row[0] for row in rows], (width, height))
        for attention, _ in self.attentions:
            attention.__dict__[CONFINE] = self.regions[1]

    def _clear(self) -> None:
        for _, module in self._projections():
            module.__dict__[FEED] = None
        for attention, _ in self.attentions:
            attention.__dict__[CONFINE] = None

    def _with_pooled(
        self,
        made: list[tuple[LayerContexts, int] | None],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        added: Mapping[str, Any] | None,
    ) -> Arguments | None:
        """The call's arguments with the words' own pooled embeddings, which Stable Diffusion XL reads."""
        if not added or "text_embeds" not in added:
            return None
        pooled = added["text_embeds"].clone()
        for row, one in enumerate(made):
            if one is not None and one[0].pooled is not None:
                pooled[row] = one[0].pooled[one[1]].to(pooled.dtype)
        changed = {**added, "text_embeds": pooled}
        place = self.names.index("added_cond_kwargs")
        if place < len(args):
            return (*args[:place], changed, *args[place + 1 :]), kwargs
        return args, kwargs | {"added_cond_kwargs": changed}
