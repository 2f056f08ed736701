"""CLIP image encoder with its mappers to CLAP: loaded together and checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from mappers.embedding_cache import space_id
from mappers.hub import resolve, why_not_loaded
from mappers.v2a import EmbeddingMapper

from ..personalization.domain_check import unknown_to_nano
from .conditioning import embed_pictures, load_mapper, mapper_folder
from .domain_gap import Domain
from .pipeline import VisionToAudioPipeline

NANO, NANO_CLAP = "nano-audio", "nano-clap"
"""Ids of the embedded generator (with CLIP image encoder and mappers) and of the CLAP that it was trained with."""


@dataclass
class VisionEncoder:
    """CLIP image encoder with the mappers from its embedding space to the generator's CLAP space.

    Args:
        image_encoder: CLIP's image encoder.
        feature_extractor: prepares pictures for it.
        mapper: from CLIP image embeddings to CLAP embeddings.
        regression_mapper: the mapper that ``blend`` mixes in.
        domain: of the pictures that ``mapper`` was trained on, to warn of others.
        of_nano: the parts are nano's own, which knows drawn pictures of its own world.
    """

    image_encoder: CLIPVisionModelWithProjection
    feature_extractor: CLIPImageProcessor
    mapper: EmbeddingMapper
    regression_mapper: EmbeddingMapper | None = None
    domain: Domain | None = None
    of_nano: bool = False

    def embed(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "n c"]:
        """CLIP image embeddings of unit length, on the CPU.

        Raises:
            ValueError: no usable pictures.
        """
        return embed_pictures(self.image_encoder, self.feature_extractor, pictures).cpu()

    def check(self, target_space: str) -> None:
        """Refuse mappers that were trained with other models.

        Raises:
            ValueError: a mapper was trained with another CLIP or towards another CLAP.
        """
        source_space = space_id(self.image_encoder)
        for mapper in filter(None, (self.mapper, self.regression_mapper)):
            mapper.check_spaces(source_space, target_space)

    def out_of_domain(self, embeds: Float[Tensor, "n c"]) -> list[int]:
        """Rows of ``embeds`` unlike all pictures that the mapper was trained on; see `Domain.out_of_domain`."""
        return self.domain.out_of_domain(embeds) if self.domain else []

    def unknown_share(self, pictures: Sequence[Image.Image], *, most: int = 8) -> list[float]:
        """For nano, the pictures' `unexplained_variance`, of at most ``most`` of them; empty for other encoders."""
        chosen = pictures[:: -(-len(pictures) // most)]
        return unknown_to_nano(chosen).tolist() if self.of_nano else []


def load_vision_encoder(
    own: VisionToAudioPipeline | None,
    clip: str | Path | None,
    mapper: str | Path | None,
    regression_mapper: str | Path | None,
    device: str,
    *,
    of_nano: bool = False,
) -> VisionEncoder:
    """Load the encoder and mappers from the folders given; a part without a folder is taken from ``own``.

    ``of_nano`` says that ``own`` is nano.

    Raises:
        FileNotFoundError: a folder holds nothing that can be loaded.
        ValueError: a part has neither a folder nor a counterpart in ``own``.
    """
    if clip is not None:
        image_encoder, feature_extractor = load_clip(clip)
    else:
        image_encoder, feature_extractor = getattr(own, "image_encoder", None), getattr(own, "feature_extractor", None)
    if image_encoder is None or feature_extractor is None:
        raise ValueError(
            "this model has no CLIP image encoder; give clip=, the CLIP folder that the mapper was trained with"
        )
    first = load_mapper(mapper) if mapper is not None else getattr(own, "mapper", None)
    if first is None:
        raise ValueError("this model has no mapper; give mapper=, a folder that fit-mapper wrote")
    second = (
        load_mapper(regression_mapper) if regression_mapper is not None else getattr(own, "regression_mapper", None)
    )
    domain = Domain.load(mapper_folder(mapper)) if mapper is not None else None
    second = second.to(device) if second is not None else None
    encoder = VisionEncoder(image_encoder.to(device), feature_extractor, first.to(device), second, domain)
    encoder.of_nano = of_nano and clip is None and mapper is None
    return encoder


def load_clip(folder: str | Path) -> tuple[CLIPVisionModelWithProjection, CLIPImageProcessor]:
    """The image encoder and the image processor in ``folder``: a CLIP folder or a pipeline's folder.

    Raises:
        FileNotFoundError: the folder holds no CLIP model.
    """
    path = resolve(folder, "CLIP", "vision-to-audio")
    tower, processor = ("image_encoder", "feature_extractor") if (Path(path) / "image_encoder").is_dir() else ("", "")
    try:
        return (
            CLIPVisionModelWithProjection.from_pretrained(path, subfolder=tower).eval(),
            CLIPImageProcessor.from_pretrained(path, subfolder=processor),
        )
    except (OSError, ValueError, TypeError) as error:
        raise FileNotFoundError(f"could not load a CLIP model from {str(folder)!r}: {why_not_loaded(error)}") from error
