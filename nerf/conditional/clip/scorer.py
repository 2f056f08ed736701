"""CLIP embeddings of texts and of renders, with gradients, and the check whether a text fits a family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mappers.embedding_cache import space_id
from mappers.hub import resolve, why_not_loaded

from ..families import Family

if TYPE_CHECKING:
    from .models import Towers

DEFAULT = "nano-clip-families"
"""Id of the default CLIP, which was trained on chairs and cars."""
WORDLY = "nano-clip"
"""Id of the CLIP that compares texts with captions: it was trained on the names of 350 objects and on other words."""
CAPTIONS = 128
"""Number of captions of a family that texts are compared with."""
UNUSUAL = 0.01
"""Share of a family's own captions below the limit."""


class Scorer:
    """A frozen CLIP.

    Args:
        towers: its text tower and image tower.
        name: its name in messages and saved files.
    """

    def __init__(self, towers: Towers, name: str):
        self.towers, self.name = towers, name
        towers.model.eval().requires_grad_(False)
        self.mean, self.std = torch.tensor(towers.mean), torch.tensor(towers.std)
        self.size, self.width = towers.size, towers.width
        self.space = space_id(towers.model)

    @classmethod
    def load(cls, model: str | Path = DEFAULT) -> Scorer:
        """Load a CLIP in transformers' layout or in open_clip's.

        Args:
            model: folder, id of an embedded model, hub id (transformers' layout), or ``hf-hub:organisation/name``
                (open_clip's layout).

        Raises:
            FileNotFoundError: the model does not exist or cannot be loaded.
        """
        from .models import HUB, load_towers  # open_clip and transformers take seconds to import

        source = str(model) if str(model).startswith(HUB) else resolve(model, "CLIP", "OpenCLIP")
        try:
            return cls(load_towers(source), str(model))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            reason = why_not_loaded(error)
            raise FileNotFoundError(
                f"could not load the CLIP {str(model)!r} ({reason}); give a folder in transformers' layout or in"
                " open_clip's"
            ) from error

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, with unit length."""
        return F.normalize(self.towers.embed_texts(texts).float(), dim=-1)

    def preprocess(self, pictures: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 s s"]:
        """Resize pictures in 0..1 to the model's size and normalise them by its mean and standard deviation."""
        values = resized(pictures.permute(0, 3, 1, 2), self.size)
        return (values - self.mean[:, None, None]) / self.std[:, None, None]

    def embed_images(self, pictures: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n d"]:
        """Embeddings of square pictures in 0..1, with unit length; differentiable."""
        return F.normalize(self.towers.embed_images(self.preprocess(pictures)).float(), dim=-1)

    @torch.no_grad()
    def embed_pil(self, images: Sequence[Image.Image]) -> Float[Tensor, "n d"]:
        """Embeddings of square PIL pictures, with unit length."""
        rows = [torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8) for image in images]
        sizes = [(image.height, image.width, 3) for image in images]
        return torch.cat([self.embed_images((r.view(s) / 255)[None]) for r, s in zip(rows, sizes, strict=True)])


def resized(pictures: Float[Tensor, "n 3 h w"], size: int) -> Float[Tensor, "n 3 s s"]:
    """Resize pictures in 0..1 (bicubic, antialiased)."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return F.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def clip_distance(one: Float[Tensor, "*#n d"], other: Float[Tensor, "*#n d"]) -> Float[Tensor, "*#n"]:
    """D_CLIP of the paper: 1 - cosine similarity, in 0..2."""
    return 1 - F.cosine_similarity(one, other, dim=-1)


class PromptDomain:
    """Similarity of a text to the captions of a family, to detect texts about other things.

    `limit` is the similarity to their nearest other caption that all but the share `UNUSUAL` of the captions reach. The
    default scorer knows only the families' words, so that `WORDLY` computes the similarities instead.
    """

    def __init__(self, scorer: Scorer, family: Family):
        self.scorer = Scorer.load(WORDLY) if scorer.name == DEFAULT else scorer
        generator = torch.Generator().manual_seed(0)
        shapes, palettes = family.shapes(CAPTIONS, seed=1), family.palettes(CAPTIONS, seed=1)
        captions = {family.caption(shapes[i], palettes[i], generator) for i in range(CAPTIONS)}
        self.known = self.scorer.embed_texts(sorted(captions))
        among = (self.known @ self.known.T).fill_diagonal_(-1).amax(1)
        self.limit = float(among.quantile(UNUSUAL))

    def score(self, text: str) -> float:
        """Cosine similarity of a text and the nearest caption."""
        return float((self.known @ self.scorer.embed_texts([text])[0]).max())
