"""Two learned words mixed into one, over layers and timesteps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Int, Num
from torch import Tensor, nn

from .neti import Word
from .registry import mapper_class, mapper_config, mapper_name, register_mapper


class MixedMapper(ModelMixin, ConfigMixin):
    """Two learned words as one: the second where ``layers`` and ``times`` say, the first elsewhere.

    NeTI's style mixing: geometry of one concept and appearance of another (shown in arXiv 2305.15391, not in its
    released code).

    Args:
        first, second: name and settings of each mapper, {"mapper": ..., "config": {...}}.
        second_layers: cross-attention layers, in execution order, that take the second; None: all.
        second_times: lowest and highest timestep at which they do; None: all timesteps.
    """

    @register_to_config
    def __init__(
        self,
        first: dict[str, Any],
        second: dict[str, Any],
        second_layers: list[int] | None = None,
        second_times: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.parts = nn.ModuleList(mapper_class(part["mapper"])(**part["config"]) for part in (first, second))
        self.layers, self.widths = self.parts[0].layers, self.parts[0].widths
        self.hidden = min(cast(int, part.hidden) for part in self.parts)

    @classmethod
    def of(
        cls,
        first: nn.Module,
        second: nn.Module,
        layers: Iterable[int] | None = None,
        times: tuple[float, float] | None = None,
    ) -> MixedMapper:
        """Mix two mappers, whose weights are copied.

        Raises:
            ValueError: a layer or a timestep that the model does not have, or nothing is left to one of the two.
        """
        layers, count = None if layers is None else sorted(set(layers)), cast(int, first.layers)
        if count != second.layers:
            raise ValueError(
                f"one word has {count} layers, the other {second.layers}; learn both for layers, or both for blocks"
            )
        if layers is not None and (not layers or layers[0] < 0 or layers[-1] >= count):
            raise ValueError(f"layers must name some of the layers 0..{count - 1}, got {layers}")
        if times is not None and not 0 <= times[0] <= times[1] < 1000:
            raise ValueError(f"times must be a lowest and a highest timestep within 0..999, got {times}")
        if times is None and (layers is None or len(layers) == count):
            raise ValueError("give layers or times; without either the mix would be the second word alone")
        parts = ({"mapper": mapper_name(m), "config": mapper_config(m)} for m in (first, second))
        mixed = cls(*parts, second_layers=layers, second_times=None if times is None else (times[0], times[1]))
        for part, source in zip(mixed.parts, (first, second), strict=True):
            part.load_state_dict(source.state_dict())
        return mixed.eval().requires_grad_(False)

    def forward(
        self,
        timesteps: Num[Tensor, " b"],
        layers: Int[Tensor, " b"],
        *,
        truncation: int | Int[Tensor, " b"] | None = None,
    ) -> Word:
        """At each point the word of the first or of the second mapper."""
        second_here = torch.ones_like(layers, dtype=torch.bool)
        if self.config.second_layers is not None:
            second_here &= torch.isin(layers, torch.tensor(self.config.second_layers, device=layers.device))
        if self.config.second_times is not None:
            second_here &= (timesteps >= self.config.second_times[0]) & (timesteps <= self.config.second_times[1])
        first, second = (part(timesteps, layers, truncation=truncation) for part in self.parts)
        embedding = torch.where(second_here[:, None], second.embedding, first.embedding)
        if first.bypass is None and second.bypass is None:
            return Word(embedding, None)
        # A zero direction is no bypass.
        ours, theirs = (torch.zeros_like(embedding) if w.bypass is None else w.bypass for w in (first, second))
        return Word(embedding, torch.where(second_here[:, None], theirs, ours))


register_mapper("mix", MixedMapper)
