"""The text tower and the image tower of a CLIP behind one interface, for files of transformers and of open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

from mappers.extras import extra

HUB = "hf-hub:"
"""Prefix of hub ids with files in open_clip's layout; it is open_clip's own prefix."""
OPEN_CLIP_CONFIG = "open_clip_config.json"


class Towers(Protocol):
    """The parts of a CLIP that a `Scorer` uses."""

    @property
    def model(self) -> nn.Module:
        """Module with both towers."""
        ...

    size: int
    """Side of the input pictures in pixels."""
    width: int
    """Width d of the embeddings."""
    mean: Sequence[float]
    """Mean of the pixels of each channel, by which inputs are normalised."""
    std: Sequence[float]
    """Standard deviation of the pixels of each channel."""

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, not normalised."""
        ...

    def embed_images(self, pixels: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """Embeddings of pictures that `mean` and `std` normalised; the embeddings are not normalised."""
        ...


class TransformersTowers:
    """A `transformers.CLIPModel`: a folder with tokenizer and image processor, or a hub id."""

    def __init__(self, folder: str):
        self.model = CLIPModel.from_pretrained(folder)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        processor: Any = AutoImageProcessor.from_pretrained(folder)
        self.mean, self.std = processor.image_mean, processor.image_std
        self.size: int = self.model.config.vision_config.image_size
        self.width: int = self.model.config.projection_dim

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return self.model.text_projection(self.model.text_model(input_ids=tokens.input_ids).pooler_output)

    def embed_images(self, pixels: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)


class OpenCLIPTowers:
    """A model of open_clip: a folder with `open_clip_config.json`, or ``hf-hub:organisation/name``."""

    def __init__(self, source: str):
        with extra("editing"):
            import open_clip
        name = source if source.startswith(HUB) else f"local-dir:{source}"
        self.model: Any = open_clip.create_model(name, require_pretrained=True)
        self.tokenizer = open_clip.get_tokenizer(name)
        processing = open_clip.get_model_preprocess_cfg(self.model)
        self.mean, self.std = processing["mean"], processing["std"]
        sides = processing["size"] if isinstance(processing["size"], Sequence) else [processing["size"]]
        self.size: int = sides[0]
        with torch.no_grad():
            self.width: int = self.embed_texts(["a"]).shape[1]

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        return self.model.encode_text(self.tokenizer(list(texts)))

    def embed_images(self, pixels: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        return self.model.encode_image(pixels)


def load_towers(source: str) -> Towers:
    """Load the towers of a folder or hub id in either layout."""
    if source.startswith(HUB) or Path(source, OPEN_CLIP_CONFIG).is_file():
        return OpenCLIPTowers(source)
    return TransformersTowers(source)
