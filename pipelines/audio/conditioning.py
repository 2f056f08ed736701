"""From pictures to the embedding that a sound is made from: seeing, aggregating, translating, steering.

As in V2A-Mapper (arXiv 2308.09300); the blend of both mappers and the steering by text are beyond it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.v2a import EmbeddingMapper, IdentityMapper, LinearMapper, RegressionMapper

from ..images import load_images

MAPPERS = (DiffusionPriorMapper, RegressionMapper, LinearMapper, IdentityMapper)

Generators = torch.Generator | list[torch.Generator] | None


@torch.no_grad()
def embed_pictures(
    image_encoder: CLIPVisionModelWithProjection,
    feature_extractor: CLIPImageProcessor,
    pictures: Sequence[Image.Image],
    *,
    batch: int = 32,
) -> Float[Tensor, "n c"]:
    """Picture embeddings of unit length, for PIL images of any mode and size.

    Raises:
        ValueError: no usable pictures.
    """
    loaded, rows = load_images(pictures), []
    for first in range(0, len(loaded), batch):
        pixels = feature_extractor(loaded[first : first + batch], return_tensors="pt").pixel_values
        rows.append(image_encoder(pixels.to(image_encoder.device, image_encoder.dtype)).image_embeds.float())
    return F.normalize(torch.cat(rows), dim=-1)


def aggregate(embeds: Float[Tensor, "n d"]) -> Float[Tensor, "1 d"]:
    """One direction for several, such as the frames of a video: the mean of unit vectors, made unit again."""
    return F.normalize(F.normalize(embeds, dim=-1).mean(0, keepdim=True), dim=-1)


def slerp(
    first: Float[Tensor, "*b d"], second: Float[Tensor, "*b d"], share: float | Float[Tensor, "*b 1"]
) -> Float[Tensor, "*b d"]:
    """The direction at ``share`` (0..1) of the shortest way on the sphere from ``first`` to ``second``, unit vectors.

    Opposite directions have no shortest way; there the nearest to the straight line is taken.
    """
    angle = (first * second).sum(-1, keepdim=True).clamp(-1, 1).arccos()
    sine = angle.sin()
    straight = torch.lerp(first, second, torch.as_tensor(share, dtype=first.dtype, device=first.device))
    curved = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / sine.clamp(min=1e-6)
    return F.normalize(torch.where(sine < 1e-4, straight, curved), dim=-1)


def translate(
    embeds: Float[Tensor, "n c"],
    mapper: EmbeddingMapper,
    regression_mapper: EmbeddingMapper | None = None,
    *,
    blend: float = 0.0,
    generator: Generators = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
) -> Float[Tensor, "n a"]:
    """Audio embeddings of unit length for picture embeddings.

    Args:
        embeds: picture embeddings, of any length.
        mapper: any mapper; a generative one draws an embedding for every row.
        regression_mapper: the other end of the slider.
        blend: 0 takes ``mapper``, 1 ``regression_mapper``: from variety to the expected sound.
        generator: of a generative mapper's draws, one for all rows or one a row.
        num_inference_steps: of a generative mapper.
        guidance_scale: of a generative mapper.

    Raises:
        ValueError: ``blend`` is out of range or has nothing to blend with, or what the mapper refuses.
    """
    if not 0 <= blend <= 1:
        raise ValueError(f"blend must be in 0..1, got {blend}")
    if blend and regression_mapper is None:
        raise ValueError("blend needs a second mapper, a regression mapper, and none is loaded")
    found = mapper.translate(
        embeds, generator=generator, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale
    )
    if not blend or regression_mapper is None:
        return found
    return slerp(found, regression_mapper.translate(embeds), blend)


def remove_directions(embeds: Float[Tensor, "n a"], directions: Float[Tensor, "k a"]) -> Float[Tensor, "n a"]:
    """``embeds`` without what they have of ``directions``: orthogonal to each of them, of unit length.

    Raises:
        ValueError: nothing is left.
    """
    basis = torch.linalg.qr(directions.float().T).Q
    left = embeds - embeds @ basis @ basis.T
    if (left.norm(dim=-1) < 1e-3).any():
        raise ValueError("what was to be left out is all there is in the embedding; leave out less")
    return F.normalize(left, dim=-1)


def mapper_folder(folder: str | Path) -> Path:
    """Where the mapper is in a folder that `fit-mapper` or `save_pretrained` wrote.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(folder).expanduser()
    for candidate in (path / "mapper", path):
        if (candidate / "config.json").is_file():
            return candidate
    raise FileNotFoundError(f"there is no mapper in {folder}; give the folder that fit-mapper wrote")


def load_mapper(folder: str | Path) -> EmbeddingMapper:
    """The mapper of `mapper_folder`.

    Raises:
        FileNotFoundError: there is none in ``folder``.
        ValueError: the folder holds something else.
    """
    path = mapper_folder(folder)
    classes = {cls.__name__: cls for cls in MAPPERS}
    try:
        name = json.loads((path / "config.json").read_text(encoding="utf-8"))["_class_name"]
        return classes[name].from_pretrained(path).eval()
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a mapper; known are {', '.join(classes)}") from error
    except OSError as error:
        raise ValueError(f"the mapper in {path} is damaged ({str(error).splitlines()[0]}); copy it again") from error
