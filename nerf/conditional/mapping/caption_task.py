"""A mapper's first lesson: what captions and pictures say of the codes of training objects, without any render.

It is the likelihood of an object's codes given an embedding that is true of it. A minute of it brings what renders and
CLIP alone did not (docs/notebook/editing.md), and stage 2 goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mappers.code_mapper import CodeMapper, gaussian_nll
from mappers.draws import Draws
from mappers.normalization import CODE_NAMES
from mappers.trainer import Prepared

from .render_task import MapperTask


class CaptionNLL(nn.Module):
    """How little a mapper expects codes where an embedding speaks of them, as the trainer calls it."""

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
        """Of each object's shape and appearance.

        Where a text speaks of a shape, directions cost: "tall" is a way to go and no place to be, so a text should move
        all shapes alike. Colours are places, and so is all that a picture shows.
        """
        off, along = self.mapper.residual("shape", embedding, shape)
        alike = off.square().sum(1) / 2 + along.square().sum((1, 2))
        of_shape = torch.where(text, alike, gaussian_nll(off, along))
        return of_shape, self.mapper.nll("appearance", embedding, appearance)


@dataclass(frozen=True)
class EmbeddingBatch:
    """Embeddings, and the codes of objects that they are true of."""

    embedding: Float[Tensor, "b d"]
    codes: tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]
    text: Bool[Tensor, " b"]
    """Whether it is a text that speaks, else a picture."""


class CaptionTask:
    """Rows of a library; those of pictures alone where the model's instances are samples, which no caption is true of.

    Args:
        of: the task of stage 2, whose mapper and library these are.

    Raises:
        ValueError: the instances are samples, and the library has no pictures.
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
