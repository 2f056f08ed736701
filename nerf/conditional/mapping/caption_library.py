"""Training data of the mappers: CLIP embeddings of captions and pictures of a family's training objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mappers.code_mapper import RidgeCodeMapper
from mappers.training.draws import Draws

from ..clip.scorer import Scorer
from ..families.splits import split_of
from ..model import ConditionalModel
from .cameras import front_cameras

PICTURE_BATCH = 64
"""Pictures that are rendered and embedded at once."""
PAIRS = 512
"""Default number of captions and pictures that the closed form is fitted to."""


@dataclass(frozen=True)
class CaptionLibrary:
    """Embeddings of captions and pictures, and the object of each."""

    prompts: tuple[str, ...]
    """Text of each embedding; empty for pictures."""
    embedding: Float[Tensor, "n d"]
    """CLIP embeddings of unit length."""
    shape: Int[Tensor, " n"]
    """Training shape of each object."""
    palette: Int[Tensor, " n"]
    """Training palette of each object."""

    def __len__(self) -> int:
        return len(self.embedding)


@torch.no_grad()
def build_library(
    model: ConditionalModel, scorer: Scorer, count: int, *, pictures: float = 0.5, seed: int = 0
) -> CaptionLibrary:
    """Embeddings of random pairs of a training shape and a training palette, without the held-out pairs.

    If the model's instances are samples (`ConditionalModel.sampled`), pictures are the model's renders of them, while
    captions describe the family's objects and not the instances.

    Args:
        model: its tables of codes give the numbers of shapes and palettes.
        scorer: CLIP.
        count: number of embeddings, at least 1.
        pictures: share of pictures, in 0..1; the others are captions.
        seed: seed of pairs, words and cameras.

    Raises:
        ValueError: count or pictures is out of range.
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
    """Fit the closed form to a library's embeddings and the codes of its objects; takes seconds.

    If the model's instances are samples, which have no captions, it is fitted to pictures alone and takes minutes.

    Args:
        model: category model.
        scorer: CLIP.
        count: number of captions and pictures.
        ridge: penalty on the squared weights for each of them.
        seed: seed of the library.
    """
    known = build_library(model, scorer, count, pictures=1.0 if model.sampled else 0.5, seed=seed)
    sizes = model.shape_codes.shape[1], model.appearance_codes.shape[1]
    mapper = RidgeCodeMapper(scorer.width, *sizes, field_space=model.space, clip_space=scorer.space, clip=scorer.name)
    mapper.fit(known.embedding, model.shape_codes[known.shape], model.appearance_codes[known.palette], ridge=ridge)
    return mapper.eval()
