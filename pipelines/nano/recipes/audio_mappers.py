"""The nano mappers from CLIP image embeddings to CLAP embeddings: their sizes and their training pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.pairs import Pairs, PairTask
from mappers.v2a import EmbeddingMapper, RegressionMapper

from ...audio.clap import Clap
from ...audio.conditioning import embed_pictures
from .. import world
from ..world.moments import Clips, Moment
from .audio_clip import WIDTH
from .clap import WIDTH as SOUND_WIDTH
from .clap import embed_clips

VIEWS = 2
"""Pictures for each training sound: same object, size, tint and count in different surroundings."""


def build_prior(source_space: str, target_space: str) -> DiffusionPriorMapper:
    """The paper's generative mapper with four layers of four heads, width 128."""
    return DiffusionPriorMapper(
        WIDTH, SOUND_WIDTH, depth=4, heads=4, head_width=32, null_tokens=1, source_space=source_space,
        target_space=target_space,
    )  # fmt: skip


def build_regression(source_space: str, target_space: str) -> RegressionMapper:
    """The paper's regression mapper."""
    return RegressionMapper(WIDTH, SOUND_WIDTH, source_space=source_space, target_space=target_space)


def embed_moments(
    image_encoder: CLIPVisionModelWithProjection, extractor: CLIPImageProcessor, moments: Sequence[Moment]
) -> Float[Tensor, "n d"]:
    """Picture embeddings of unit length."""
    return embed_pictures(image_encoder, extractor, [Image.fromarray(moment.picture()) for moment in moments])


def views_of(moments: Sequence[Moment], count: int) -> list[Moment]:
    """Each moment followed by ``count - 1`` others with the same hidden factors in different surroundings."""
    views = []
    for index, moment in enumerate(moments):
        rng, scene = np.random.default_rng([2, index]), moment.scene
        kept = {name: getattr(scene, name) for name in ("scale", "x", "y", "tilt", "tint", "count", "style")}
        scenes = [scene, *(world.sample_scene(rng, [moment.name], **kept) for _ in range(count - 1))]
        views += [replace(moment, scene=view) for view in scenes]
    return views


def pair_task(
    mapper: EmbeddingMapper,
    image_encoder: CLIPVisionModelWithProjection,
    extractor: CLIPImageProcessor,
    clap: Clap,
    clips: Clips,
    held_out: Clips,
    batch_size: int,
) -> PairTask:
    """Trains on pictures of each clip's moment, paired with the clip. The way to sound cannot be seen in them."""
    sides = []
    for some, views in ((clips, VIEWS), (held_out, 1)):
        pictures, sounds = (
            embed_moments(image_encoder, extractor, views_of(some.moments, views)),
            embed_clips(clap, some),
        )
        rows = torch.arange(len(pictures))
        sides.append(Pairs(pictures, sounds, torch.stack([rows, rows // views], 1)))
    train, validation = sides
    return PairTask(mapper, train, validation, batch_size=batch_size)
