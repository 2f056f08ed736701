"""CLIP as a judge of renders: embeddings of texts and pictures, with gradients, and whether a text fits a family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

from mappers.embeddings import space_id
from mappers.hub import resolve

from ..families import Family

DEFAULT = "nano-clip"
CAPTIONS = 128
"""Captions of a family that texts are compared with."""
UNUSUAL = 0.01
"""Share of a family's own captions that would count as unfamiliar."""


class Scorer:
    """A frozen CLIP.

    Args:
        clip: both towers.
        tokenizer: of the text tower.
        mean: of the pixels, per channel.
        std: of the pixels, per channel.
        name: how messages call it.
    """

    def __init__(self, clip: CLIPModel, tokenizer: Any, mean: Sequence[float], std: Sequence[float], name: str):
        self.clip, self.tokenizer, self.name = clip.eval().requires_grad_(False), tokenizer, name
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.size: int = clip.config.vision_config.image_size
        self.width: int = clip.config.projection_dim
        self.space = space_id(clip)

    @classmethod
    def load(cls, model: str | Path = DEFAULT) -> Scorer:
        """Read a CLIP in transformers' layout with tokenizer and image processor: folder, embedded or hub id.

        Raises:
            FileNotFoundError: it cannot be loaded.
        """
        folder = resolve(model)
        try:
            clip, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
            processor: Any = AutoImageProcessor.from_pretrained(folder)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise FileNotFoundError(
                f"could not load the CLIP {str(model)!r} ({reason}); give a folder in transformers' layout of CLIP"
            ) from error
        return cls(clip, tokenizer, processor.image_mean, processor.image_std, str(model))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, of unit length."""
        length = self.clip.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        states = self.clip.text_model(input_ids=tokens.input_ids).pooler_output
        return F.normalize(self.clip.text_projection(states).float(), dim=-1)

    def pixels(self, pictures: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 s s"]:
        """Pictures in 0..1 as the model takes them: its size (bicubic, antialiased), its mean and deviation."""
        values = pictures.permute(0, 3, 1, 2)
        if values.shape[-2:] != (self.size, self.size):
            values = F.interpolate(values, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return (values - self.mean[:, None, None]) / self.std[:, None, None]

    def pictures(self, pictures: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n d"]:
        """Embeddings of square pictures in 0..1, of unit length; differentiable."""
        states = self.clip.vision_model(pixel_values=self.pixels(pictures)).pooler_output
        return F.normalize(self.clip.visual_projection(states).float(), dim=-1)

    @torch.no_grad()
    def images(self, images: Sequence[Image.Image]) -> Float[Tensor, "n d"]:
        """Embeddings of square pictures from files."""
        rows = [torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8) for image in images]
        sizes = [(image.height, image.width, 3) for image in images]
        return torch.cat([self.pictures((r.view(s) / 255)[None]) for r, s in zip(rows, sizes, strict=True)])


def clip_distance(one: Float[Tensor, "*n d"], other: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """D_CLIP of the paper: 1 - cosine, in 0..2."""
    return 1 - F.cosine_similarity(one, other, dim=-1)


class Familiarity:
    """How near a text is to what is said of a family: its cosine to the nearest of the family's captions.

    `limit` is what all but a hundredth of the captions reach among each other.
    """

    def __init__(self, scorer: Scorer, family: Family):
        generator = torch.Generator().manual_seed(0)
        shapes, palettes = family.shapes(CAPTIONS, seed=1), family.palettes(CAPTIONS, seed=1)
        captions = {family.caption(shapes[i], palettes[i], generator) for i in range(CAPTIONS)}
        self.known = scorer.texts(sorted(captions))
        among = (self.known @ self.known.T).fill_diagonal_(-1).amax(1)
        self.limit = float(among.quantile(UNUSUAL))

    def score(self, embedding: Float[Tensor, " d"]) -> float:
        """Cosine of a text's embedding to the nearest caption's."""
        return float((self.known @ embedding).max())
