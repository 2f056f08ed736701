"""Mappers from CLIP embeddings to displacements of a category field's codes (CLIP-NeRF, arXiv 2112.05139, section 3.3).

A text's or a picture's embedding moves the shape code, the appearance code, or both; each has a mapper of its own, so
an edit of colours cannot touch the shape. `CodeMapper` is the paper's, `RidgeCodeMapper` the closed form that it has
to beat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from .normalization import CodeName, normalize_rms, whiten
from .pretrained import load_pretrained
from .registry import register_mapper
from .ridge import ridge_regression

FAINT = 0.03
"""Standard deviation of a fresh mapper's directions."""


class EditsCodes(Protocol):
    """Whatever moves codes towards an embedding: a mapper, a closed form, or an optimisation of its own."""

    def edit(
        self,
        embedding: Float[Tensor, "b d"],
        shape_code: Float[Tensor, "b s"],
        appearance_code: Float[Tensor, "b a"],
        *,
        strength: float = 1.0,
        shape: bool = True,
        appearance: bool = True,
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]:
        """Codes moved by ``strength`` times a displacement; a code that is not to change is returned as it is."""
        ...


class CodeEditor(ModelMixin, ConfigMixin):
    """What every mapper of codes can do: say how far, and where to, an embedding moves each code.

    Subclasses take ``source`` (width of embeddings), ``shape`` and ``appearance`` (of codes), ``field_space`` and
    ``clip_space`` (ids of the field and of the CLIP that it was trained between; see `check_spaces`),
    and ``clip`` (the folder or id by which that CLIP was loaded).
    """

    def displacement(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b c"]:
        """Where to ``embedding`` moves codes of a kind; an embedding's length is ignored."""
        raise NotImplementedError

    def edit(
        self,
        embedding: Float[Tensor, "b d"],
        shape_code: Float[Tensor, "b s"],
        appearance_code: Float[Tensor, "b a"],
        *,
        strength: float = 1.0,
        shape: bool = True,
        appearance: bool = True,
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]:
        """Codes moved by ``strength`` times the displacement; a code that is not to change is returned as it is.

        Raises:
            ValueError: a width is another than the mapper's, or the strength or a code is not finite.
        """
        if embedding.shape[-1] != self.config.source:
            raise ValueError(
                f"the mapper takes embeddings of width {self.config.source}, got {embedding.shape[-1]}: they are from"
                " another model than the one it was trained on"
            )
        if not torch.isfinite(torch.tensor(strength)):
            raise ValueError(f"strength must be a finite number, got {strength}")
        codes: dict[CodeName, Tensor] = {"shape": shape_code, "appearance": appearance_code}
        for name, code in codes.items():
            if code.shape[-1] != self.config[name]:
                raise ValueError(
                    f"the mapper moves {name} codes of {self.config[name]} numbers, got {code.shape[-1]}: they are of"
                    " another model than the one it was trained on"
                )
            if not torch.isfinite(code).all():
                raise ValueError(f"the {name} code has numbers that are not finite")
        if shape:
            shape_code = shape_code + strength * self.displacement("shape", embedding, codes["shape"])
        if appearance:
            appearance_code = appearance_code + strength * self.displacement(
                "appearance", embedding, codes["appearance"]
            )
        return shape_code, appearance_code

    def forward(
        self,
        embedding: Float[Tensor, "b d"],
        shape_code: Float[Tensor, "b s"],
        appearance_code: Float[Tensor, "b a"],
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]:
        """`edit` of both codes at full strength: what training calls."""
        return self.edit(embedding, shape_code, appearance_code)

    def check_spaces(self, field_space: str, clip_space: str) -> None:
        """Refuse another field or CLIP than those that the mapper was trained between.

        Raises:
            ValueError: an id (`mappers.pairs.space_id`) differs from the recorded one.
        """
        for name, found in (("field", field_space), ("clip", clip_space)):
            wanted = self.config[f"{name}_space"]
            if wanted and wanted != found:
                raise ValueError(
                    f"this mapper was trained with the {name} {wanted}, but the one in use is {found}: its codes or"
                    " embeddings mean something else there; use that one or train a mapper for this one"
                )


class CodeMapper(CodeEditor):
    """The paper's hidden layer with ReLU for each kind of code; beyond it, it may see the code that it moves.

    For each kind an embedding e says a place m and directions F [c, r], in standard deviations of the codes. A code z
    moves by m - K z with K = F (I + FᵀF)⁻¹ Fᵀ: where F is long, z is replaced by m; across it, z is kept. That is the
    step from N(0, I) to a Gaussian of mean m and precision I + F Fᵀ, which `nll` fits. Without directions (rank 0)
    all objects move alike, as in the paper. A fresh mapper edits nothing, or next to nothing where it has directions,
    which could not grow from zero.

    Args:
        source: width of the embeddings.
        shape: numbers of a shape code.
        appearance: numbers of an appearance code.
        hidden: units of the hidden layer.
        rank: directions r of each kind.
        field_space: id of the field.
        clip_space: id of the CLIP.
        clip: folder or id of the CLIP, where one finds it again.
    """

    @register_to_config
    def __init__(
        self,
        source: int,
        shape: int,
        appearance: int,
        *,
        hidden: int = 256,
        rank: int = 0,
        field_space: str | None = None,
        clip_space: str | None = None,
        clip: str | None = None,
    ):
        super().__init__()
        self.nets = nn.ModuleDict()
        sizes: dict[CodeName, int] = {"shape": shape, "appearance": appearance}
        for name, size in sizes.items():
            last = nn.Linear(hidden, size * (1 + rank))
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            nn.init.normal_(last.bias[size:], std=FAINT)
            self.nets[name] = nn.Sequential(nn.Linear(source, hidden), nn.ReLU(), last)
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_factor", torch.eye(size))

    @torch.no_grad()
    def set_statistics(self, name: CodeName, mean: Float[Tensor, " c"], factor: Float[Tensor, "c c"]) -> None:
        """Take the Gaussian of a kind's codes; ``factor`` is lower triangular. Without it codes count as N(0, I)."""
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_factor").copy_(factor)

    def predicted_gaussian(
        self, name: CodeName, embedding: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c r"]]:
        """The place m and the directions F that embeddings say."""
        out = self.nets[name](normalize_rms(embedding))
        size = self.config[name]
        return out[:, :size], out[:, size:].view(len(out), size, self.config.rank)

    def whitened(self, name: CodeName, code: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Codes in standard deviations."""
        return whiten(code, getattr(self, f"{name}_mean"), getattr(self, f"{name}_factor"))

    def residual(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c r"]]:
        """How far codes lie from the place that embeddings say, and the directions F."""
        place, along = self.predicted_gaussian(name, embedding)
        return self.whitened(name, code) - place, along

    def displacement(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b c"]:
        place, along = self.predicted_gaussian(name, embedding)
        if self.config.rank:
            seen = along.mT @ self.whitened(name, code)[:, :, None]
            place = place - (along @ torch.linalg.solve(_precision(along), seen))[:, :, 0]
        return place @ getattr(self, f"{name}_factor").T

    def nll(self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """Negative log likelihood of codes under what embeddings say of them, up to a constant."""
        return nll(*self.residual(name, embedding, code))


def nll(off: Float[Tensor, "b c"], along: Float[Tensor, "b c r"]) -> Float[Tensor, " b"]:
    """`CodeMapper.nll` of what `CodeMapper.residual` returns."""
    stretched = (along.mT @ off[:, :, None]).square().sum((1, 2))
    return (off.square().sum(1) + stretched - torch.linalg.slogdet(_precision(along)).logabsdet) / 2


def _precision(along: Float[Tensor, "b c r"]) -> Float[Tensor, "b r r"]:
    """I + FᵀF."""
    return torch.eye(along.shape[2]).to(along) + along.mT @ along


class RidgeCodeMapper(CodeEditor):
    """Straight to what objects like the embedding have: a linear guess of the code, minus the current code.

    ``fit`` also learns how far embeddings determine a code along each direction of code space, and an edit moves it by
    that share: what no embedding tells stays. It is one share for all embeddings, so what some captions tell and this
    one does not is drawn towards its mean.
    """

    @register_to_config
    def __init__(
        self,
        source: int,
        shape: int,
        appearance: int,
        *,
        field_space: str | None = None,
        clip_space: str | None = None,
        clip: str | None = None,
    ):
        super().__init__()
        self.guesses = nn.ModuleDict({"shape": nn.Linear(source, shape), "appearance": nn.Linear(source, appearance)})
        self.told = nn.ParameterDict({"shape": torch.eye(shape), "appearance": torch.eye(appearance)})

    def displacement(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b c"]:
        return (self.guesses[name](normalize_rms(embedding)) - code) @ self.told[name].T

    @torch.no_grad()
    def fit(
        self,
        embedding: Float[Tensor, "n d"],
        shape_code: Float[Tensor, "n s"],
        appearance_code: Float[Tensor, "n a"],
        *,
        ridge: float = 1e-2,
    ) -> None:
        """The weights of least squared error on pairs, with a penalty of ``ridge`` per pair on them, bias left free.

        The share of a code's covariance that guesses explain, Cov(guess) Cov(code)⁻¹, is what an edit moves it by: one
        along directions that the embedding determines, zero along those that it is silent about.

        Raises:
            ValueError: there are fewer than two pairs.
        """
        if not len(embedding) == len(shape_code) == len(appearance_code) >= 2:
            raise ValueError(
                f"a fit needs two pairs or more, got {len(embedding)} embeddings, {len(shape_code)} shape codes and"
                f" {len(appearance_code)} appearance codes"
            )
        x = normalize_rms(embedding)
        codes: dict[CodeName, Tensor] = {"shape": shape_code, "appearance": appearance_code}
        for name, code in codes.items():
            weight, bias = ridge_regression(x, code, ridge * len(x))
            guess = self.guesses[name]
            guess.weight.copy_(weight)
            guess.bias.copy_(bias)
            moved, off = (values - values.mean(0) for values in (x.double() @ weight.T, code.double()))
            explained, spread = moved.T @ moved, off.T @ off
            floor = 1e-6 * spread.diagonal().mean() + 1e-12
            spread = spread + floor * torch.eye(len(spread)).to(spread)
            self.told[name].copy_(torch.linalg.solve(spread, explained).T)


def load_code_mapper(folder: str | Path) -> CodeEditor:
    """Read a mapper of codes that was saved with ``save_pretrained``, of whichever class.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder holds another kind of model, or a damaged one.
    """
    command = "python -m nerf.conditional.train_mapper"
    return load_pretrained(folder, (CodeMapper, RidgeCodeMapper), "mapper of codes", command)


register_mapper("code-mapper", CodeMapper)
register_mapper("code-ridge", RidgeCodeMapper)
