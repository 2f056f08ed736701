"""From pictures to the CLAP embedding that a sound is generated from: embed, aggregate, map, steer.

As in V2A-Mapper (arXiv 2308.09300); the paper has neither the blend of two mappers nor the steering by text.
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
    """CLIP image embeddings of unit length, for PIL images of any mode and size.

    Raises:
        ValueError: no usable pictures.
    """
    loaded, rows = load_images(pictures), []
    for first in range(0, len(loaded), batch):
        pixels = feature_extractor(loaded[first : first + batch], return_tensors="pt").pixel_values
        rows.append(image_encoder(pixels.to(image_encoder.device, image_encoder.dtype)).image_embeds.float())
    return F.normalize(torch.cat(rows), dim=-1)


def aggregate(embeds: Float[Tensor, "n d"]) -> Float[Tensor, "1 d"]:
    """One direction for several, such as the frames of a video: the normalized mean of their unit vectors."""
    return F.normalize(F.normalize(embeds, dim=-1).mean(0, keepdim=True), dim=-1)


def slerp(
    first: Float[Tensor, "*b d"], second: Float[Tensor, "*b d"], share: float | Float[Tensor, "*b 1"]
) -> Float[Tensor, "*b d"]:
    """Spherical interpolation between unit vectors: ``first`` at ``share`` 0, ``second`` at 1.

    Opposite directions have no unique shortest path; for them the normalized straight line is taken.
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
    """Map CLIP image embeddings to CLAP embeddings of unit length.

    Args:
        embeds: CLIP image embeddings of any length.
        mapper: any mapper; a generative one draws one embedding for each row.
        regression_mapper: the mapper that ``blend`` 1 takes.
        blend: 0 takes ``mapper`` (variety), 1 ``regression_mapper`` (the expected sound); slerp between them.
        generator: source of a generative mapper's noise, one for all rows or one for each.
        num_inference_steps: denoising steps of a generative mapper.
        guidance_scale: classifier-free guidance of a generative mapper.

    Raises:
        ValueError: ``blend`` is out of range or there is no second mapper, or the mapper refuses an argument.
    """
    if not 0 <= blend <= 1:
        raise ValueError(f"blend must be in 0..1, got {blend}")
    if blend and regression_mapper is None:
        raise ValueError("blend needs a second mapper, and none is loaded; give regression_mapper=")
    found = mapper.translate(
        embeds, generator=generator, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale
    )
    if not blend or regression_mapper is None:
        return found
    return slerp(found, regression_mapper.translate(embeds), blend)


def remove_directions(embeds: Float[Tensor, "n a"], directions: Float[Tensor, "k a"]) -> Float[Tensor, "n a"]:
    """``embeds`` without their components along ``directions``: orthogonal to each of them, of unit length.

    Raises:
        ValueError: an embedding lies in the span of ``directions``.
    """
    basis = torch.linalg.qr(directions.float().T).Q
    left = embeds - embeds @ basis @ basis.T
    if (left.norm(dim=-1) < 1e-3).any():
        raise ValueError("the embedding has no component besides what is to be left out; name fewer things in without")
    return F.normalize(left, dim=-1)


def mapper_folder(folder: str | Path) -> Path:
    """The folder of the mapper inside a folder that `fit-mapper` or `save_pretrained` wrote.

    Raises:
        FileNotFoundError: ``folder`` holds no mapper.
    """
    path = Path(folder).expanduser()
    for candidate in (path / "mapper", path):
        if (candidate / "config.json").is_file():
            return candidate
    raise FileNotFoundError(f"there is no mapper in {folder}; give the folder that fit-mapper wrote")


def load_mapper(folder: str | Path) -> EmbeddingMapper:
    """Load the mapper of `mapper_folder`.

    Raises:
        FileNotFoundError: ``folder`` holds no mapper.
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
