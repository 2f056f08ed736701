"""What sees and translates: a CLIP picture tower and mappers from its space, loaded and checked together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from mappers.embedding_cache import space_id
from mappers.hub import resolve
from mappers.v2a import EmbeddingMapper

from .conditioning import load_mapper, mapper_folder
from .domain_gap import Domain
from .pipeline import VisionToAudioPipeline

NANO, NANO_CLAP = "nano-audio", "nano-clap"
"""Ids of the embedded generator, with its picture tower and mappers, and of the CLAP that it was trained with."""


@dataclass
class Eyes:
    """What sees and translates.

    Args:
        image_encoder: CLIP's picture tower.
        feature_extractor: prepares pictures for it.
        mapper: from its space to the generator's CLAP.
        regression_mapper: the other end of the blend.
        domain: of the pictures that ``mapper`` was trained on, to warn of others.
    """

    image_encoder: CLIPVisionModelWithProjection
    feature_extractor: CLIPImageProcessor
    mapper: EmbeddingMapper
    regression_mapper: EmbeddingMapper | None = None
    domain: Domain | None = None

    def check(self, target_space: str) -> None:
        """Refuse mappers of other models.

        Raises:
            ValueError: a mapper was trained with another CLIP or towards another CLAP.
        """
        source_space = space_id(self.image_encoder)
        for mapper in filter(None, (self.mapper, self.regression_mapper)):
            mapper.check_spaces(source_space, target_space)

    def far(self, embeds: Float[Tensor, "n c"]) -> list[int]:
        """Rows that are unlike all that the mapper was trained on."""
        return self.domain.far(embeds) if self.domain else []


def load_eyes(
    own: VisionToAudioPipeline | None,
    clip: str | Path | None,
    mapper: str | Path | None,
    regression_mapper: str | Path | None,
    device: str,
) -> Eyes:
    """Eyes of the folders given, else those of the pipeline ``own``.

    Raises:
        FileNotFoundError: a folder holds nothing that can be loaded.
        ValueError: there is neither a folder nor a part of ``own``.
    """
    if clip is not None:
        image_encoder, feature_extractor = load_clip(clip)
    else:
        image_encoder, feature_extractor = getattr(own, "image_encoder", None), getattr(own, "feature_extractor", None)
    if image_encoder is None or feature_extractor is None:
        raise ValueError(
            "this model has no picture tower; give clip=, the CLIP folder that the mapper was trained with"
        )
    first = load_mapper(mapper) if mapper is not None else getattr(own, "mapper", None)
    if first is None:
        raise ValueError("this model has no mapper; give mapper=, a folder that fit-mapper wrote")
    second = (
        load_mapper(regression_mapper) if regression_mapper is not None else getattr(own, "regression_mapper", None)
    )
    domain = Domain.load(mapper_folder(mapper)) if mapper is not None else None
    second = second.to(device) if second is not None else None
    return Eyes(image_encoder.to(device), feature_extractor, first.to(device), second, domain)


def load_clip(folder: str | Path) -> tuple[CLIPVisionModelWithProjection, CLIPImageProcessor]:
    """The picture tower of a CLIP folder, or of a pipeline's, and what prepares its pictures.

    Raises:
        FileNotFoundError: it holds none.
    """
    path = resolve(folder, "CLIP", "vision-to-audio")
    tower, processor = ("image_encoder", "feature_extractor") if (Path(path) / "image_encoder").is_dir() else ("", "")
    try:
        return (
            CLIPVisionModelWithProjection.from_pretrained(path, subfolder=tower).eval(),
            CLIPImageProcessor.from_pretrained(path, subfolder=processor),
        )
    except (OSError, ValueError, TypeError) as error:
        raise FileNotFoundError(
            f"could not load a CLIP model from {str(folder)!r}: {str(error).splitlines()[0]}"
        ) from error
