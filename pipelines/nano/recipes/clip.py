"""nano-clip: a CLIPModel for 64x64 pictures of the nano world, trained contrastively from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from mappers.training.draws import Draws
from mappers.training.trainer import Prepared
from mappers.training.workers import Preparation

from .. import world
from .tokenizer import END, MAX_LENGTH, START
from .vae import pictures_of, pixels_of, scaled

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
"""Pixel statistics of the image processor, which gives pictures in [-1, 1]."""


def text_config(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    """A text transformer of width 192, for the tokenizer's vocabulary."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        projection_dim=128,
        bos_token_id=tokenizer.convert_tokens_to_ids(START),
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
    )


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Image encoder: 8-pixel patches, 5 layers of width 192; text encoder: 3 layers; projection to 128."""
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=64,
        patch_size=8,
        projection_dim=128,
    )
    config = CLIPConfig(
        text_config=text_config(tokenizer, layers=3).to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=128,
    )
    return CLIPModel(config)


def tokens_of(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Captions as token ids [b, MAX_LENGTH], padded as Stable Diffusion pads them, and cut where they are longer."""
    return tokenizer(
        captions, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids


@dataclass(frozen=True)
class ScenesInGroups(Preparation):
    """Pixels, caption tokens and name numbers of random scenes.

    In every other group of eight samples all share place, ground, tint, style and count. Among random pairs the
    surroundings alone distinguish most captions, and the model is slow to learn objects.
    """

    names: Sequence[str]
    tokenizer: CLIPTokenizer
    group: int = 8

    def __call__(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        rngs = [draws.numpy(i) for i in range(len(draws))]
        scenes = self.scenes(draws, rngs)
        captions = [world.caption(scene, rng) for scene, rng in zip(scenes, rngs, strict=True)]
        names = torch.tensor([self.names.index(scene.object) for scene in scenes])
        return pixels_of(scenes), tokens_of(self.tokenizer, captions), names

    def scenes(self, draws: Draws, rngs: Sequence[np.random.Generator]) -> list[world.Scene]:
        """One scene for each sample, from its generator; what a group shares is drawn from the group's generator."""
        groups = Draws(draws.seed, draws.step, [index // self.group for index in draws.indices])
        scenes = []
        for i, rng in enumerate(rngs):
            shared: dict[str, Any] = {}
            if groups.indices[i] % 2:
                common = world.sample_scene(groups.numpy(i, "group"), self.names)
                shared = {name: getattr(common, name) for name in ("place", "color", "tint", "style", "count")}
            scenes.append(world.sample_scene(rng, self.names, **shared))
        return scenes


class CLIPTask:
    """The symmetric contrastive loss over (picture, caption) pairs of all 350 training objects.

    A linear head on the image encoder, dropped after training, also classifies the object.
    """

    def __init__(self, clip: CLIPModel, tokenizer: CLIPTokenizer):
        self.clip, self.tokenizer = clip, tokenizer
        self.names = [info.name for info in world.objects("train")]
        self.batch = ScenesInGroups(self.names, tokenizer)
        self.head = nn.Linear(clip.config.projection_dim, len(self.names))
        self.modules: Mapping[str, nn.Module] = {"clip": clip, "head": self.head}
        rng = np.random.default_rng(7)
        self.labels = rng.integers(len(self.names), size=256)
        self.pictures = pictures_of([world.sample_scene(rng, [self.names[i]]) for i in self.labels])

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        pixels, tokens, names = batch
        output = modules["clip"](input_ids=tokens, pixel_values=scaled(pixels))
        logits = output.logits_per_image.float()
        target = torch.arange(len(logits), device=logits.device)
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        naming = F.cross_entropy(modules["head"](output.vision_model_output.pooler_output).float(), names)
        return {"loss": contrastive + naming, "contrastive": contrastive, "naming": naming}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Zero-shot classification of new pictures among all 350 training names."""
        device = next(self.clip.parameters()).device
        texts = tokens_of(self.tokenizer, [f"a photo of {world.with_article(name)}" for name in self.names])
        logits = self.clip(input_ids=texts.to(device), pixel_values=self.pictures.to(device)).logits_per_image
        right = logits.argmax(1).cpu() == torch.from_numpy(self.labels)
        return {"named": right.float().mean().item()}
