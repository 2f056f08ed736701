"""Mappers between the embedding spaces of two frozen models, as V2A-Mapper has them (arXiv 2308.09300).

They map CLIP image embeddings to the CLAP embeddings that condition an audio generator. Here are the paper's regression
mapper and two baselines; the paper's generative mapper is `mappers.diffusion_prior`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .normalization import normalize_rms
from .registry import register_mapper
from .ridge import ridge_regression
from .training.draws import Draws


class EmbeddingMapper(ModelMixin, ConfigMixin):
    """Base class of mappers between embedding spaces.

    Both sides are directions: the length of an input is ignored, and outputs have unit length. Internally, vectors have
    a root mean square of one (`normalize_rms`).
    """

    generative = False
    """Whether `translate` samples from a distribution; otherwise it is deterministic."""

    def loss(
        self,
        forward: Callable[..., Tensor],
        condition: Float[Tensor, "b c"],
        target: Float[Tensor, "b a"],
        draws: Draws,
    ) -> Tensor:
        """The training loss; ``forward`` is this module as the trainer prepared it."""
        return F.mse_loss(forward(normalize_rms(condition)).float(), normalize_rms(target))

    @torch.no_grad()
    def translate(
        self,
        condition: Float[Tensor, "b c"],
        *,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Float[Tensor, "b a"]:
        """Embeddings of the target space, of unit length.

        Args:
            condition: embeddings of the source space, of any length.
            generator: source of a generative mapper's noise, one for all rows or one for each.
            num_inference_steps: denoising steps of a generative mapper.
            guidance_scale: classifier-free guidance of a generative mapper.

        Raises:
            ValueError: ``condition`` has another width than the mapper's, or an argument is for generative mappers.
        """
        if num_inference_steps is not None or guidance_scale is not None:
            raise ValueError(
                f"num_inference_steps and guidance_scale are for generative mappers; {type(self).__name__} has neither"
            )
        return F.normalize(self(normalize_rms(self.checked(condition))).float(), dim=-1)

    def checked(self, condition: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """``condition`` in the mapper's precision.

        Raises:
            ValueError: ``condition`` has another width than the mapper's.
        """
        if condition.shape[-1] != self.config.source:
            raise ValueError(
                f"the mapper takes embeddings of width {self.config.source}, got {condition.shape[-1]}; give embeddings"
                " of the model that it was trained on"
            )
        return condition.to(self.dtype)

    def check_spaces(self, source_space: str, target_space: str) -> None:
        """Refuse models other than those that the mapper was trained with.

        Raises:
            ValueError: the id of a space differs from the recorded one.
        """
        for side, found in (("source", source_space), ("target", target_space)):
            wanted = self.config[f"{side}_space"]
            if wanted and wanted != found:
                raise ValueError(
                    f"this mapper was trained with the {side} model {wanted}, but the one in use is {found}; use that"
                    " model, or train a mapper for this one"
                )


class RegressionMapper(EmbeddingMapper):
    """One hidden layer trained with squared error: the paper's ablation. It predicts the mean of its targets' modes.

    Args:
        source: width of its inputs.
        target: width of its outputs.
        hidden: units of the hidden layer; None makes it four times the source.
        source_space: id of the source model; see `check_spaces`.
        target_space: id of the target model.
    """

    @register_to_config
    def __init__(
        self,
        source: int,
        target: int,
        *,
        hidden: int | None = None,
        source_space: str | None = None,
        target_space: str | None = None,
    ):
        super().__init__()
        hidden = hidden or 4 * source
        self.net = nn.Sequential(
            nn.Linear(source, hidden), nn.SiLU(), nn.LayerNorm(hidden), nn.Linear(hidden, target)
        )  # fmt: skip

    def forward(self, condition: Float[Tensor, "b c"]) -> Float[Tensor, "b a"]:
        return self.net(condition)


class LinearMapper(EmbeddingMapper):
    """One matrix and a bias: a baseline, fitted in closed form by `fit`."""

    @register_to_config
    def __init__(
        self, source: int, target: int, *, source_space: str | None = None, target_space: str | None = None
    ):  # fmt: skip
        super().__init__()
        self.linear = nn.Linear(source, target)

    def forward(self, condition: Float[Tensor, "b c"]) -> Float[Tensor, "b a"]:
        return self.linear(condition)

    @torch.no_grad()
    def fit(self, condition: Float[Tensor, "n c"], target: Float[Tensor, "n a"], ridge: float = 1e-2) -> None:
        """Ridge regression with a penalty of ``ridge`` per pair on the matrix and none on the bias."""
        weight, bias = ridge_regression(normalize_rms(condition), normalize_rms(target), ridge * len(condition))
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)


class IdentityMapper(EmbeddingMapper):
    """Returns its input: the baseline that shows how far two spaces are apart without a mapper."""

    @register_to_config
    def __init__(
        self, source: int, target: int, *, source_space: str | None = None, target_space: str | None = None
    ):  # fmt: skip
        super().__init__()
        if source != target:
            raise ValueError(f"an identity mapper needs equal widths, got {source} and {target}")
        self.register_buffer("nothing", torch.zeros(1))  # a file of no tensors cannot be loaded

    def forward(self, condition: Float[Tensor, "b c"]) -> Float[Tensor, "b a"]:
        return condition


register_mapper("v2a-regression", RegressionMapper)
register_mapper("v2a-linear", LinearMapper)
register_mapper("v2a-identity", IdentityMapper)
