"""NeTI's space-time mapper (arXiv 2305.15391) and its baseline, plain textual inversion (arXiv 2208.01618).

Both map a timestep t and a cross-attention layer l to the input embedding of the new word, and to the residual (the
textual bypass) that is added to its output embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from .registry import register_mapper
from .training.draws import Draws

ANCHOR_TIMES = range(0, 1000, 100)


class Word(NamedTuple):
    """A word at some (timestep, layer) points."""

    embedding: Float[Tensor, "b d"]
    """Input embedding, which replaces the placeholder's token embedding."""
    bypass: Float[Tensor, "b d"] | None
    """Direction added to the output embedding; None without a bypass."""
    strength: float = 1.0
    """Factor of the bypass' length."""


class NeTIMapper(ModelMixin, ConfigMixin):
    """(timestep, layer) -> word, a small MLP over a fixed encoding.

    Args:
        layers: cross-attention layers of the model, in execution order.
        width: width of its text embeddings; of several text encoders, that of each, and the mapper has a head for each.
        norm: length to which a head's output is scaled, that of the category word's embedding (section 4.2).
        bypass: also predict the residual after the text encoder (section 4.4).
        positional_encoding: False feeds (t, l) scaled to [-1, 1] to the first hidden layer instead.
        hidden: units of the hidden layers, on which nested dropout acts.
        dropout: probability of nested dropout, per layer and step.
        encoding_size: features of the encoding.
        seed: seed of the encoding's frequencies and the weights.
    """

    @register_to_config
    def __init__(
        self,
        layers: int,
        width: int | list[int],
        norm: float | list[float],
        *,
        bypass: bool = True,
        positional_encoding: bool = True,
        hidden: int = 128,
        dropout: float = 0.5,
        encoding_size: int = 2048,
        seed: int = 0,
    ):
        super().__init__()
        self.widths, self.norms = _heads(layers, width, norm)
        self.layers, self.hidden, self.dropout = layers, hidden, dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inputs = 2
            if positional_encoding:
                self.encoding = SpaceTimeEncoding(encoding_size, seed=seed)
                self.anchors = self._anchors(encoding_size)
                inputs = self.anchors.out_features
            self.net = nn.Sequential(
                nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(),
                nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(),
            )  # fmt: skip
            self.output = nn.Linear(hidden, sum(self.widths) * (2 if bypass else 1))

    def _anchors(self, encoding_size: int) -> nn.Linear:
        """A trained layer whose rows start as the encodings of a grid of anchors: t outer, layer inner."""
        times, layers = torch.meshgrid(
            torch.tensor(ANCHOR_TIMES, dtype=torch.float32),
            torch.arange(self.layers, dtype=torch.float32),
            indexing="ij",
        )
        linear = nn.Linear(encoding_size, times.numel())
        with torch.no_grad():
            linear.weight.copy_(self.encoding(times.flatten(), layers.flatten()))
        return linear

    @torch.no_grad()
    def start_at(self, embedding: Float[Tensor, " d"]) -> None:
        """Make the mapper's output exactly ``embedding``, with no bypass, at every (t, l) before training.

        Not in the paper, where training starts in a random direction: the last layer's weights become zero and
        its bias the embedding; the bypass half is zero and so contributes nothing. ``norm`` has to be its length.
        """
        self.output.weight.zero_()
        self.output.bias.zero_()
        parts = zip(self._split(self.output.bias), embedding.split(self.widths), strict=True)
        for part, start in parts:
            part[: len(start)] = start

    def _split(self, output: Float[Tensor, "... o"]) -> tuple[Tensor, ...]:
        """The output of each head: embedding, then bypass."""
        return output.split([width * (2 if self.config.bypass else 1) for width in self.widths], dim=-1)

    def draw_kept_units(self, draws: Draws) -> Int[Tensor, "b l"]:
        """Units that each (row, layer) keeps in a training step (section 4.3).

        Each layer tosses one coin for the whole batch; heads cuts every row of that layer at its own
        k ~ U{0..hidden-1}. In the official code, likewise, every layer is one call of the mapper.
        """
        coins = torch.rand(self.layers, generator=draws.shared_generator("nested dropout")) < self.dropout
        kept = draws.integers("nested dropout", self.hidden, (self.layers,))
        return torch.where(coins.to(kept.device), kept, self.hidden)

    def forward(
        self,
        timesteps: Num[Tensor, " b"],
        layers: Int[Tensor, " b"],
        *,
        kept: Int[Tensor, " b"] | None = None,
        truncation: int | Int[Tensor, " b"] | None = None,
    ) -> Word:
        """The word at each (timestep, layer).

        Args:
            timesteps: the scheduler's timesteps in 0..999, fractional ones too.
            layers: layer indices in execution order.
            kept: units kept per row, from `draw_kept_units`; only while training.
            truncation: in evaluation, keep only the first units: 0 (most editable) to `hidden` (most faithful); one
                number, or one a row.

        Raises:
            ValueError: ``truncation`` is out of range.
        """
        if truncation is not None:
            units = torch.as_tensor(truncation)
            if not bool(((units >= 0) & (units <= self.hidden)).all()):
                raise ValueError(f"truncation must be in 0..{self.hidden}, got {units.tolist()}")
        if self.config.positional_encoding:
            hidden = self.anchors(self.encoding(timesteps, layers).to(self.output.weight.dtype))
        else:
            last = max(1, self.layers - 1)
            hidden = torch.stack([timesteps / 499.5 - 1, 2 * layers / last - 1], dim=-1).to(self.output.weight.dtype)
        hidden = self.net(hidden)
        if self.training and kept is not None:
            hidden = nested_dropout(hidden, kept)
        elif not self.training and truncation is not None:
            hidden = nested_dropout(hidden, truncation)
        # One norm over both halves together (section 4.2): neither half alone has it.
        heads = [F.normalize(y, dim=-1) * n for y, n in zip(self._split(self.output(hidden)), self.norms, strict=True)]
        halves = [y.tensor_split([width], dim=-1) for y, width in zip(heads, self.widths, strict=True)]
        embedding, bypass = (torch.cat(half, dim=-1) for half in zip(*halves, strict=True))
        return Word(embedding, bypass if self.config.bypass else None)


class TextualInversionMapper(ModelMixin, ConfigMixin):
    """One trained vector for every timestep and layer, from the category word's embedding on.

    With ``per_layer`` it is extended textual inversion (XTI, arXiv 2303.09522): one vector for each layer.
    """

    @register_to_config
    def __init__(self, layers: int, width: int | list[int], norm: float | list[float], *, per_layer: bool = False):
        super().__init__()
        self.widths, self.norms = _heads(layers, width, norm)
        self.layers, self.hidden = layers, 0
        rows = [torch.full((w,), n / w**0.5) for w, n in zip(self.widths, self.norms, strict=True)]
        self.vectors = nn.Parameter(torch.cat(rows).repeat(layers if per_layer else 1, 1))

    @torch.no_grad()
    def start_at(self, embedding: Float[Tensor, " d"]) -> None:
        """Start at the category word's embedding."""
        self.vectors.copy_(embedding)

    def draw_kept_units(self, draws: Draws) -> None:
        """Vectors have no units to drop."""

    def forward(
        self,
        timesteps: Num[Tensor, " b"],
        layers: Int[Tensor, " b"],
        *,
        kept: Int[Tensor, " b"] | None = None,
        truncation: int | Int[Tensor, " b"] | None = None,
    ) -> Word:
        """The vector, or each layer's, once per row.

        Raises:
            ValueError: ``truncation`` is given; there is nothing to truncate.
        """
        if truncation is not None:
            raise ValueError("truncation needs a NeTI concept; this one is textual inversion")
        return Word(self.vectors[layers if self.config.per_layer else torch.zeros_like(layers)], None)


class SiteMapper(ModelMixin, ConfigMixin):
    """(timestep, site) -> direction into which a word's row is moved before a layer projects it to keys and values.

    A site is an attention that reads text. Not in the paper, which adds one direction to the text encoder's output
    for each layer, and so has to call the encoder for each layer; here it is called once.

    Args:
        layers: sites of the model, in execution order.
        width: width of the rows that they project.
        strength: length of the direction, as a share of the row's own length; the paper's alpha.
        hidden: units of the hidden layers, on which nested dropout acts.
        dropout: probability of nested dropout, per site and step.
        encoding_size: features of the encoding.
        seed: seed of the encoding's frequencies and the weights.
    """

    @register_to_config
    def __init__(
        self,
        layers: int,
        width: int,
        *,
        strength: float = 0.2,
        hidden: int = 128,
        dropout: float = 0.5,
        encoding_size: int = 2048,
        seed: int = 0,
    ):
        super().__init__()
        self.mapper = NeTIMapper(
            layers,
            width,
            strength,
            bypass=False,
            hidden=hidden,
            dropout=dropout,
            encoding_size=encoding_size,
            seed=seed,
        )
        self.layers, self.hidden, self.widths = layers, hidden, [width]

    def draw_kept_units(self, draws: Draws) -> Int[Tensor, "b l"]:
        """Units that each (row, site) keeps in a training step; see `NeTIMapper.draw_kept_units`."""
        return self.mapper.draw_kept_units(draws)

    def forward(
        self,
        timesteps: Num[Tensor, " b"],
        layers: Int[Tensor, " b"],
        *,
        kept: Int[Tensor, " b"] | None = None,
        truncation: int | Int[Tensor, " b"] | None = None,
    ) -> Word:
        """The direction at each (timestep, site), of length ``strength``, as the word's embedding.

        Args:
            timesteps: noise levels in 0..1000, 1000 for noise alone.
            layers: sites in execution order.
            kept: units kept per row, from `draw_kept_units`; only while training.
            truncation: in evaluation, keep only the first units; see `NeTIMapper`.
        """
        return self.mapper(timesteps, layers, kept=kept, truncation=truncation)


def _heads(layers: int, width: int | list[int], norm: float | list[float]) -> tuple[list[int], list[float]]:
    """Width and norm of each head.

    Raises:
        ValueError: they are not positive, or not as many.
    """
    widths = [width] if isinstance(width, int) else list(width)
    norms = [float(n) for n in ([norm] if isinstance(norm, int | float) else norm)]
    if layers < 1 or min(widths) < 1 or not all(n > 0 for n in norms) or len(widths) != len(norms):
        raise ValueError(f"layers, width and norm must be positive, got {layers}, {width}, {norm}")
    return widths, norms


@dataclass(frozen=True)
class Envelope:
    """How many units of a NeTI mapper are kept, as a function of timestep and layer.

    Few units early (at high timesteps) leave the layout to the prompt, many late bring the details back.
    """

    times: Mapping[float, float] = field(default_factory=dict)
    """Units at some timesteps; between them linear, beyond them constant. Empty: all units."""
    layers: Mapping[int, float] = field(default_factory=dict)
    """Factor in 0..1 for some cross-attention layers, in execution order; 1 for the others."""

    def __post_init__(self) -> None:
        wrong = [t for t, units in self.times.items() if not 0 <= t < 1000 or units < 0]
        wrong += [layer for layer, factor in self.layers.items() if layer < 0 or not 0 <= factor <= 1]
        if wrong:
            raise ValueError(
                f"an envelope has units >= 0 at timesteps 0..999 and factors 0..1 for layers; look at {wrong}"
            )

    def units(self, timesteps: Num[Tensor, " b"], layers: Int[Tensor, " b"], hidden: int) -> Int[Tensor, " b"]:
        """Units of ``hidden`` that are kept at each point, rounded."""
        at = sorted(self.times) or [0.0]
        curve = np.interp(timesteps.cpu().numpy(), at, [self.times.get(t, hidden) for t in at])
        factors = np.array([self.layers.get(int(layer), 1.0) for layer in layers.cpu()])
        return torch.from_numpy(np.rint(np.minimum(curve, hidden) * factors).astype(np.int64)).to(timesteps.device)


register_mapper("neti", NeTIMapper)
register_mapper("textual-inversion", TextualInversionMapper)
register_mapper("sites", SiteMapper)


TIME_STD, LAYER_STD = 0.03, 2.0
"""Bandwidths of NeTI's encoding (arXiv 2305.15391, section 4): neighbours share about 33 timesteps, not layers."""


class SpaceTimeEncoding(nn.Module):
    """Random Fourier features of (timestep, layer): ``[sin(Wx), cos(Wx)]`` scaled to unit length.

    W is drawn once, never trained and saved with the mapper. Timesteps (0..999) and layers (0..) enter as they
    are, without scaling. Always computed in fp32: under bf16 the arguments near t=999 would be off by half a
    radian.
    """

    frequencies: Tensor

    def __init__(self, size: int = 2048, *, seed: int = 0):
        super().__init__()
        if size <= 0 or size % 2:
            raise ValueError(f"size of the encoding must be even and positive, got {size}")
        generator = torch.Generator().manual_seed(seed)
        frequencies = torch.randn(size // 2, 2, generator=generator) * torch.tensor([TIME_STD, LAYER_STD])
        self.register_buffer("frequencies", frequencies)

    @torch.no_grad()
    def forward(self, timesteps: Num[Tensor, " b"], layers: Num[Tensor, " b"]) -> Float[Tensor, "b e"]:
        with torch.autocast(timesteps.device.type, enabled=False):
            points = torch.stack([timesteps.float(), layers.float()], dim=-1)
            angles = points @ self.frequencies.float().T
            return torch.cat([angles.sin(), angles.cos()], dim=-1) / len(self.frequencies) ** 0.5


def nested_dropout(
    hidden: Float[Tensor, "b h"],
    kept: Int[Tensor, " b"] | int,
) -> Float[Tensor, "b h"]:
    """Zero every unit from index ``kept`` on, row by row; ``kept`` = h changes nothing (arXiv 2305.15391, 4.3)."""
    units = torch.arange(hidden.shape[-1], device=hidden.device)
    limit = kept if isinstance(kept, int) else kept.to(hidden.device)[:, None]
    return hidden * (units < limit)
