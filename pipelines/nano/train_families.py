"""nano-clip-families: a CLIPModel for pictures of the procedural families, trained contrastively from scratch.

It scores edits of nano-chairs and nano-cars. What it is shown are the families' own renders, made as soft as those of
a small radiance field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from mappers.draws import Draws
from mappers.trainer import Prepared
from nerf.conditional.teaching import viewed
from nerf.families import FAMILIES, Family

from .tokenizer import END, MAX_LENGTH, START, train_tokenizer
from .train_clip import tokens_of

SIZE = 64
"""Side of the pictures, pixels."""
SOFT = 0.5
"""Share of the pictures that are drawn at half the size and enlarged, as mappers see a field while they learn."""
WHITE = 0.3
"""Share of the pictures before white; the others stand before any colour."""
TEXTS = 512
"""Captions of each family that the vocabulary is learned from."""


def families_tokenizer() -> CLIPTokenizer:
    """A tokenizer whose words are those of the families' captions."""
    generator, texts = torch.Generator().manual_seed(0), []
    for family in FAMILIES.values():
        pairs = zip(family.shapes(TEXTS, 0), family.palettes(TEXTS, 0), strict=True)
        texts += [family.caption(shape, palette, generator) for shape, palette in pairs]
    return train_tokenizer(texts, merges=400)


def build_families_clip(
    tokenizer: CLIPTokenizer, *, size: int = SIZE, patch: int = 8, width: int = 128, layers: int = 4
) -> CLIPModel:
    """Both towers of one width, the text's with half the layers; projection to 128."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers // 2,
        num_attention_heads=4, max_position_embeddings=MAX_LENGTH, projection_dim=128,
        bos_token_id=tokenizer.convert_tokens_to_ids(START), eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4,
        image_size=size, patch_size=patch, projection_dim=128,
    )  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128))


@dataclass(frozen=True)
class Described:
    """Pictures of objects, what is said of them, and the truth."""

    family: str
    pixels: Float[Tensor, "b 3 s s"]
    """In -1..1."""
    tokens: Int[Tensor, "b t"]
    truth: Float[Tensor, "b k"]
    """Traits and colours, standardised."""


class FamiliesTask:
    """The symmetric contrastive loss over (picture, caption) pairs of one family a step, the families in turn.

    Equal captions count as right for each other's pictures. A linear head on the picture tower, dropped afterwards,
    also reads all traits and colours: a direct teacher beside captions, which name two or three.
    """

    def __init__(self, clip: CLIPModel, tokenizer: CLIPTokenizer):
        self.clip, self.tokenizer = clip, tokenizer
        self.size: int = clip.config.vision_config.image_size
        self.statistics = {name: _statistics(family) for name, family in FAMILIES.items()}
        widths = [len(mean) for mean, _ in self.statistics.values()]
        self.columns = dict(zip(FAMILIES, torch.arange(sum(widths)).split(widths), strict=True))
        self.head = nn.Linear(clip.config.vision_config.hidden_size, sum(widths))
        self.modules: Mapping[str, nn.Module] = {"clip": clip, "head": self.head}

    def batch(self, draws: Draws) -> Described:
        return self.described(list(FAMILIES)[draws.step % len(FAMILIES)], draws)

    def described(self, name: str, draws: Draws) -> Described:
        """Random objects of a family, each drawn from its own generator."""
        family = FAMILIES[name]
        seeds = draws.integers("object", 2**62).tolist()
        shapes = torch.cat([family.shapes(1, seed) for seed in seeds])
        palettes = torch.cat([family.palettes(1, seed) for seed in seeds])
        said = [
            family.caption(shape, palette, torch.Generator().manual_seed(seed))
            for shape, palette, seed in zip(shapes, palettes, seeds, strict=True)
        ]
        mean, std = self.statistics[name]
        return Described(
            name,
            self._pixels(family, shapes, palettes, draws).to(draws.device),
            tokens_of(self.tokenizer, said).to(draws.device),
            ((family.attributes(shapes, palettes) - mean) / std).to(draws.device),
        )

    def _pixels(self, family: Family, shapes: Tensor, palettes: Tensor, draws: Draws) -> Float[Tensor, "b 3 s s"]:
        """Pictures before random grounds, some of them soft."""
        rgb, alpha, _ = family.render(shapes, palettes, viewed(family, SIZE, draws))
        ground, kind = draws.uniform("ground", (3,)).cpu(), draws.uniform("kind", (2,)).cpu()
        ground = torch.where(kind[:, :1] < WHITE, torch.ones(3), ground)
        values = torch.where(alpha[..., None] > 0, rgb, ground[:, None, None]).permute(0, 3, 1, 2)
        softened = enlarged(F.avg_pool2d(values, 2), SIZE)
        values = torch.where((kind[:, 1] < SOFT)[:, None, None, None], softened, values)
        return enlarged(values, self.size) * 2 - 1

    def loss(self, modules: Prepared, batch: Described, draws: Draws) -> dict[str, Tensor]:
        output = modules["clip"](input_ids=batch.tokens, pixel_values=batch.pixels)
        logits = output.logits_per_image.float()
        equal = (batch.tokens[:, None] == batch.tokens[None]).all(-1).float()
        target = equal / equal.sum(1, keepdim=True)
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        read = modules["head"](output.vision_model_output.pooler_output).float()
        reading = F.smooth_l1_loss(read[:, self.columns[batch.family].to(read.device)], batch.truth)
        return {"loss": contrastive + reading, "contrastive": contrastive, "reading": reading}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """How often a fresh picture's own caption, or one equal to it, comes first among 128."""
        found = {}
        for name in FAMILIES:
            batch = self.described(name, Draws(1, 0, range(128)))
            device = next(self.clip.parameters()).device
            output = self.clip(input_ids=batch.tokens.to(device), pixel_values=batch.pixels.to(device))
            first = output.logits_per_image.argmax(1).cpu()
            right = (batch.tokens[first] == batch.tokens).all(-1)
            found[f"found_{name}"] = right.float().mean().item()
        return found


def enlarged(pictures: Float[Tensor, "b 3 h w"], size: int) -> Float[Tensor, "b 3 s s"]:
    """Pictures in 0..1 at another size, bicubic and antialiased, as a scorer resizes them."""
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def _statistics(family: Family) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Mean and standard deviation of a family's attributes."""
    population = family.attributes(family.shapes(1024, 11), family.palettes(1024, 12))
    return population.mean(0), population.std(0)
