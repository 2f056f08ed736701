"""Mappers from CLIP embeddings to displacements of a category field's codes (CLIP-NeRF, arXiv 2112.05139, section 3.3).

The embedding of a text or of a picture moves the shape code, the appearance code, or both. Each code has a mapper of
its own, so that an edit of colours cannot change the shape. `CodeMapper` is the paper's network; `RidgeCodeMapper` is a
closed form, the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from .normalization import CodeName, normalize_rms, whiten
from .pretrained import load_pretrained
from .registry import register_mapper

INITIAL_STD = 0.03
"""Standard deviation of the initial directions F of a `CodeMapper`, in standard deviations of the codes."""


class CodeEditor:
    """Moves codes of objects towards an embedding. Subclasses compute the displacements, and `edit` applies them."""

    def displacements(
        self,
        embedding: Float[Tensor, "b d"],
        codes: Mapping[CodeName, Float[Tensor, "b _"]],
        changed: Sequence[CodeName],
    ) -> dict[CodeName, Float[Tensor, "b _"]]:
        """Displacement at strength 1 of each code that ``changed`` names; ``codes`` has both."""
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
        """Both codes, each moved by ``strength`` times its displacement.

        Args:
            embedding: CLIP embeddings of the texts or pictures to move towards; their lengths are ignored.
            shape_code: shape codes of the objects.
            appearance_code: appearance codes of the objects.
            strength: factor of the displacements; 0 changes nothing, negative numbers move away from the embedding.
            shape: False returns the shape codes as they are.
            appearance: False returns the appearance codes as they are.

        Raises:
            ValueError: the strength or a code is not finite, or a width is not the one that the editor was made for.
        """
        if not math.isfinite(strength):
            raise ValueError(f"strength must be a finite number, got {strength}")
        codes: dict[CodeName, Tensor] = {"shape": shape_code, "appearance": appearance_code}
        for name, code in codes.items():
            if not torch.isfinite(code).all():
                raise ValueError(f"the {name} code has numbers that are not finite")
        wanted: dict[CodeName, bool] = {"shape": shape, "appearance": appearance}
        found = self.displacements(embedding, codes, [name for name in codes if wanted[name]])
        moved = codes | {name: codes[name] + strength * displacement for name, displacement in found.items()}
        return moved["shape"], moved["appearance"]


class BaseCodeMapper(CodeEditor, ModelMixin, ConfigMixin):
    """What the mappers share: one displacement for each code, saved weights, and the checks of what they fit to.

    Subclasses take ``source`` (width of embeddings), ``shape`` and ``appearance`` (widths of the codes),
    ``field_space`` and ``clip_space`` (ids of the field and of the CLIP that the mapper was trained with; see
    `check_spaces`), and ``clip`` (the folder or id by which that CLIP was loaded).
    """

    def displacement(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b c"]:
        """Displacement of one of the two codes at strength 1; an embedding's length is ignored."""
        raise NotImplementedError

    def displacements(
        self,
        embedding: Float[Tensor, "b d"],
        codes: Mapping[CodeName, Float[Tensor, "b _"]],
        changed: Sequence[CodeName],
    ) -> dict[CodeName, Float[Tensor, "b _"]]:
        if embedding.shape[-1] != self.config.source:
            raise ValueError(
                f"the mapper takes embeddings of width {self.config.source}, got {embedding.shape[-1]}: they are from"
                " another model than the one it was trained on"
            )
        for name, code in codes.items():
            if code.shape[-1] != self.config[name]:
                raise ValueError(
                    f"the mapper moves {name} codes of {self.config[name]} numbers, got {code.shape[-1]}: they are of"
                    " another model than the one it was trained on"
                )
        return {name: self.displacement(name, embedding, codes[name]) for name in changed}

    def forward(
        self,
        embedding: Float[Tensor, "b d"],
        shape_code: Float[Tensor, "b s"],
        appearance_code: Float[Tensor, "b a"],
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]:
        """`edit` of both codes at full strength: what training calls."""
        return self.edit(embedding, shape_code, appearance_code)

    def check_spaces(self, field_space: str, clip_space: str) -> None:
        """Refuse another field or CLIP than the two that the mapper was trained with.

        Raises:
            ValueError: an id (`mappers.embedding_cache.space_id`) differs from the recorded one.
        """
        for name, found in (("field", field_space), ("clip", clip_space)):
            wanted = self.config[f"{name}_space"]
            if wanted and wanted != found:
                raise ValueError(
                    f"this mapper was trained with the {name} {wanted}, but the one in use is {found}: its codes or"
                    " embeddings mean something else there; use that one or train a mapper for this one"
                )


class CodeMapper(BaseCodeMapper):
    """The paper's network, one hidden layer with ReLU for each of the two codes; its edit may also depend on the code.

    For each code, an embedding e predicts a Gaussian of whitened codes z: mean m(e) [c], and precision I + F Fᵀ with
    directions F(e) [c, r]. An edit maps z to m + (I + F Fᵀ)⁻¹ z: along long directions z is replaced by m, and at right
    angles to all directions z is kept and m is added. Minimising `nll` fits m and F to objects that the embedding
    describes. Deviation from the paper: there the rank is 0, so that z moves by m for every object. A new mapper has
    m = 0 and random directions of standard deviation `INITIAL_STD`, because the gradient at F = 0 vanishes.

    Args:
        source: width of the embeddings.
        shape: numbers of a shape code.
        appearance: numbers of an appearance code.
        hidden: units of the hidden layer.
        rank: directions r of each code.
        field_space: id of the field.
        clip_space: id of the CLIP.
        clip: folder or id of the CLIP, from which it is loaded again.
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
            nn.init.normal_(last.bias[size:], std=INITIAL_STD)
            self.nets[name] = nn.Sequential(nn.Linear(source, hidden), nn.ReLU(), last)
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_factor", torch.eye(size))

    @torch.no_grad()
    def set_statistics(self, name: CodeName, mean: Float[Tensor, " c"], factor: Float[Tensor, "c c"]) -> None:
        """Set mean and lower triangular ``factor`` that one of the codes is whitened by; a new mapper has 0 and I."""
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_factor").copy_(factor)

    def predicted_gaussian(
        self, name: CodeName, embedding: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c r"]]:
        """Mean m and directions F of the whitened codes that embeddings predict."""
        out = self.nets[name](normalize_rms(embedding))
        size = self.config[name]
        return out[:, :size], out[:, size:].view(len(out), size, self.config.rank)

    def whiten(self, name: CodeName, code: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """z with code = mean + factor z."""
        return whiten(code, getattr(self, f"{name}_mean"), getattr(self, f"{name}_factor"))

    def residual(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c r"]]:
        """Whitened codes minus their predicted mean, and the predicted directions F."""
        mean, directions = self.predicted_gaussian(name, embedding)
        return self.whiten(name, code) - mean, directions

    def displacement(
        self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b c"]:
        moved, directions = self.predicted_gaussian(name, embedding)
        if self.config.rank:
            # z - (I + F Fᵀ)⁻¹ z = F (I + FᵀF)⁻¹ Fᵀ z, which solves a system of r equations and not of c.
            projected = directions.mT @ self.whiten(name, code)[:, :, None]
            moved = moved - (directions @ torch.linalg.solve(_gram(directions), projected))[:, :, 0]
        return moved @ getattr(self, f"{name}_factor").T

    def nll(self, name: CodeName, embedding: Float[Tensor, "b d"], code: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """Negative log likelihood of codes under the predicted Gaussian, in nats up to a constant."""
        return gaussian_nll(*self.residual(name, embedding, code))


def gaussian_nll(residual: Float[Tensor, "b c"], directions: Float[Tensor, "b c r"]) -> Float[Tensor, " b"]:
    """Negative log likelihood of a residual under N(0, (I + F Fᵀ)⁻¹), in nats up to a constant."""
    along = (directions.mT @ residual[:, :, None]).square().sum((1, 2))
    return (residual.square().sum(1) + along - torch.linalg.slogdet(_gram(directions)).logabsdet) / 2


def _gram(directions: Float[Tensor, "b c r"]) -> Float[Tensor, "b r r"]:
    """I + FᵀF, which has the determinant of I + F Fᵀ."""
    return torch.eye(directions.shape[2]).to(directions) + directions.mT @ directions


class RidgeCodeMapper(BaseCodeMapper):
    """The closed form: ridge regression from embeddings to codes, E[code | embedding] = W e + b.

    An edit moves a code by S (E[code | embedding] - code). S = Cov(E[code | embedding]) Cov(code)⁻¹ is the share of the
    codes' covariance that embeddings explain: components that CLIP does not predict are left unchanged. S is the same
    for all embeddings. So a component that some captions predict and this one does not moves towards its mean.
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
        # "guesses" (W and b) and "told" (S) are names in saved files.
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
        """Fit W, b and S of both codes to pairs of an embedding and an object.

        Args:
            embedding: CLIP embeddings.
            shape_code: shape code of the object of each embedding.
            appearance_code: appearance code of the object of each embedding.
            ridge: penalty on the squared weights W for each pair; b has no penalty.

        Raises:
            ValueError: there are fewer than two pairs.
        """
        if not len(embedding) == len(shape_code) == len(appearance_code) >= 2:
            raise ValueError(
                f"a fit needs two pairs or more, got {len(embedding)} embeddings, {len(shape_code)} shape codes and"
                f" {len(appearance_code)} appearance codes"
            )
        from .ridge import ridge_regression  # an editor, which loads this module, fits nothing

        x = normalize_rms(embedding)
        codes: dict[CodeName, Tensor] = {"shape": shape_code, "appearance": appearance_code}
        for name, code in codes.items():
            weight, bias = ridge_regression(x, code, ridge * len(x))
            regression = cast(nn.Linear, self.guesses[name])
            regression.weight.copy_(weight)
            regression.bias.copy_(bias)
            predicted, centered = (values - values.mean(0) for values in (x.double() @ weight.T, code.double()))
            explained, total = predicted.T @ predicted, centered.T @ centered
            floor = 1e-6 * total.diagonal().mean() + 1e-12
            total = total + floor * torch.eye(len(total)).to(total)
            self.told[name].copy_(torch.linalg.solve(total, explained).T)


def load_code_mapper(folder: str | Path) -> BaseCodeMapper:
    """Read a `CodeMapper` or `RidgeCodeMapper` that was saved with ``save_pretrained``.

    Raises:
        FileNotFoundError: the folder holds no mapper.
        ValueError: the folder holds a model of another class, or damaged files.
    """
    command = "python -m nerf.conditional.train_mapper"
    return load_pretrained(folder, (CodeMapper, RidgeCodeMapper), "mapper of codes", command)


register_mapper("code-mapper", CodeMapper)
register_mapper("code-ridge", RidgeCodeMapper)
