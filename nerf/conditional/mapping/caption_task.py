"""First stage of a mapper's training: maximum likelihood of codes given embeddings of captions and pictures.

Deviation from the paper, which trains on renders alone. One minute of this stage gives edits that renders alone did not
give; `render_task` continues from its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mappers.code_mapper import CodeMapper, gaussian_nll
from mappers.normalization import CODE_NAMES
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from .render_task import MapperTask


class CaptionNLL(nn.Module):
    """A mapper's negative log likelihood of codes as one module, so that the trainer can wrap it."""

    def __init__(self, mapper: CodeMapper):
        super().__init__()
        self.mapper = mapper

    def forward(
        self,
        embedding: Float[Tensor, "b d"],
        shape: Float[Tensor, "b s"],
        appearance: Float[Tensor, "b a"],
        text: Bool[Tensor, " b"],
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Negative log likelihood, in nats, of each object's shape code and of its appearance code.

        For texts the shape's term penalises directions F: "tall" names a direction of change and not a target shape, so
        a text should move all shapes alike. Colours and pictures do name a target.
        """
        residual, directions = self.mapper.residual("shape", embedding, shape)
        alike = residual.square().sum(1) / 2 + directions.square().sum((1, 2))
        of_shape = torch.where(text, alike, gaussian_nll(residual, directions))
        return of_shape, self.mapper.nll("appearance", embedding, appearance)


@dataclass(frozen=True)
class EmbeddingBatch:
    """Embeddings, and codes of the objects that they describe."""

    embedding: Float[Tensor, "b d"]
    codes: tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]
    text: Bool[Tensor, " b"]
    """True: the embedding is a text's; False: a picture's."""


class CaptionTask:
    """Random rows of a library. If the model's instances are samples, only pictures: samples have no captions.

    Args:
        of: the task of stage 2, whose mapper is trained on its library.

    Raises:
        ValueError: the instances are samples and the library has no pictures.
    """

    def __init__(self, of: MapperTask):
        self.model, self.library = of.model, of.library
        self.modules: Mapping[str, nn.Module] = {"mapper": CaptionNLL(of.mapper)}
        self.text = torch.tensor([bool(prompt) for prompt in self.library.prompts])
        self.rows = torch.arange(len(self.text))
        if self.model.sampled:
            self.rows = self.rows[~self.text]
        if not len(self.rows):
            raise ValueError("the model's instances are samples, of which only pictures are true; set pictures above 0")

    def batch(self, draws: Draws) -> EmbeddingBatch:
        row = self.rows[draws.integers("row", len(self.rows)).cpu()]
        known, model = self.library, self.model
        codes = model.shape_codes[known.shape[row]], model.appearance_codes[known.palette[row]]
        values = [value.to(draws.device) for value in (known.embedding[row], *codes, self.text[row])]
        return EmbeddingBatch(values[0], (values[1], values[2]), values[3])

    def loss(self, modules: Prepared, batch: EmbeddingBatch, draws: Draws) -> dict[str, Tensor]:
        values = [value.mean() for value in modules["mapper"](batch.embedding, *batch.codes, batch.text)]
        return {"loss": values[0] + values[1], **dict(zip(CODE_NAMES, values, strict=True))}
