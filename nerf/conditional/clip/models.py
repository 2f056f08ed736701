"""The two towers of a CLIP behind one interface, from transformers' layout or from open_clip's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import open_clip
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

HUB = "hf-hub:"
"""Before ids of the hub that hold open_clip's layout, as open_clip itself writes them."""
OPEN_CLIP_CONFIG = "open_clip_config.json"


class Towers(Protocol):
    """What a scorer needs of a CLIP."""

    @property
    def model(self) -> nn.Module:
        """Both networks."""
        ...

    size: int
    """Side of the pictures."""
    width: int
    """Numbers of an embedding."""
    mean: Sequence[float]
    """Of the pixels, per channel."""
    std: Sequence[float]

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts, of any length."""
        ...

    def embed_images(self, pixels: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """Embeddings of normalised pictures, of any length."""
        ...


class TransformersTowers:
    """A `transformers.CLIPModel` in a folder with tokenizer and image processor, or on the hub."""

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
    """The towers in a folder or on the hub, in whichever layout."""
    if source.startswith(HUB) or Path(source, OPEN_CLIP_CONFIG).is_file():
        return OpenCLIPTowers(source)
    return TransformersTowers(source)
