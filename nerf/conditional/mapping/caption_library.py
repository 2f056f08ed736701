"""What mappers are trained with: true captions and pictures of a family's training objects, embedded by CLIP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mappers.code_mapper import RidgeCodeMapper
from mappers.draws import Draws

from ..clip.scorer import Scorer
from ..families.splits import split_of
from ..model import ConditionalModel
from .cameras import front_cameras

PICTURE_BATCH = 64
"""Pictures that are embedded at once."""
PAIRS = 512
"""Captions and pictures that a closed form is fitted to, where nothing else is said."""


@dataclass(frozen=True)
class CaptionLibrary:
    """Embeddings, and the objects that they are of."""

    prompts: tuple[str, ...]
    """The text of each embedding; empty where it is a picture's."""
    embedding: Float[Tensor, "n d"]
    """Of unit length."""
    shape: Int[Tensor, " n"]
    """Number of each object's training shape."""
    palette: Int[Tensor, " n"]
    """Number of its training palette."""

    def __len__(self) -> int:
        return len(self.embedding)


@torch.no_grad()
def build_library(
    model: ConditionalModel, scorer: Scorer, count: int, *, pictures: float = 0.5, seed: int = 0
) -> CaptionLibrary:
    """``count`` embeddings of random training pairs; held-out pairs are left aside.

    Where the model's instances are samples (`ConditionalModel.sampled`) pictures are its own renders of them, and
    captions are true of the family's objects but not of the instances, which have none.

    Args:
        model: whose tables of codes say how many shapes and palettes there are.
        scorer: embeds.
        count: how many, at least one.
        pictures: share of pictures among them, 0..1; the others are captions.
        seed: of pairs, words and cameras.

    Raises:
        ValueError: count or share is out of range.
    """
    if count < 1 or not 0 <= pictures <= 1:
        raise ValueError(f"a library needs 1 entry or more, pictures a share in 0..1; got {count} and {pictures}")
    family, generator = model.family, torch.Generator().manual_seed(seed)
    split = split_of(family, len(model.shape_codes), len(model.appearance_codes))
    allowed = (~split.held_out_pairs).nonzero()
    pairs = allowed[torch.randint(len(allowed), (count,), generator=generator)]
    shape, palette = pairs.unbind(1)
    seen = round(pictures * count)
    rows, prompts = [], [""] * seen
    for first in range(0, seen, PICTURE_BATCH):
        part = slice(first, min(first + PICTURE_BATCH, seen))
        cameras = front_cameras(family, scorer.size, Draws(seed, first, range(len(shape[part]))))
        if model.sampled:
            codes = zip(model.shape_codes[shape[part]], model.appearance_codes[palette[part]], strict=True)
            drawn = torch.stack([model.render(*pair, cameras[i]).color for i, pair in enumerate(codes)])
        else:
            drawn, _, _ = family.render(split.shapes[shape[part]], split.palettes[palette[part]], cameras)
        rows.append(scorer.embed_images(drawn))
    said = range(seen, count)
    prompts += [family.caption(split.shapes[shape[i]], split.palettes[palette[i]], generator) for i in said]
    if seen < count:
        known = {text: i for i, text in enumerate(dict.fromkeys(prompts[seen:]))}
        unique = scorer.embed_texts(list(known))
        rows.append(unique[[known[text] for text in prompts[seen:]]])
    return CaptionLibrary(tuple(prompts), torch.cat(rows), shape, palette)


def fit_ridge(
    model: ConditionalModel, scorer: Scorer, *, count: int = PAIRS, ridge: float = 1e-2, seed: int = 0
) -> RidgeCodeMapper:
    """The closed form from a library's embeddings to the codes of its objects; takes seconds.

    From pictures alone, and some minutes, where the model's instances are samples: no caption is known of them.
    """
    known = build_library(model, scorer, count, pictures=1.0 if model.sampled else 0.5, seed=seed)
    sizes = model.shape_codes.shape[1], model.appearance_codes.shape[1]
    mapper = RidgeCodeMapper(scorer.width, *sizes, field_space=model.space, clip_space=scorer.space, clip=scorer.name)
    mapper.fit(known.embedding, model.shape_codes[known.shape], model.appearance_codes[known.palette], ridge=ridge)
    return mapper.eval()
