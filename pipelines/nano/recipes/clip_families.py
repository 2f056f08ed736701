"""nano-clip-families: a CLIP for pictures of the procedural families, trained contrastively from scratch.

It scores edits of nano-chairs and nano-cars. It is trained on the families' own renders; half of them are blurred to
the sharpness of a small radiance field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from mappers.files import replacing
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared
from nerf.conditional.clip.models import OPEN_CLIP_CONFIG
from nerf.conditional.clip.scorer import resized
from nerf.conditional.families import FAMILIES, Family
from nerf.conditional.mapping.cameras import front_cameras

from .clip import MEAN, STD, tokens_of
from .tokenizer import MAX_LENGTH, train_tokenizer

FOLDER = Path(__file__).parents[1] / "clip_families"
SIZE = 64
"""Side of the pictures, pixels."""
BLURRED = 0.5
"""Share of the pictures that are downsampled by two and enlarged, like the renders that mappers are trained on."""
WHITE_GROUND = 0.3
"""Share of the pictures with a white background; the others have a random colour."""
TRAIT_WEIGHT = 5.0
"""Weight of the losses of predicted traits, relative to the contrastive loss; shapes are learned from them first."""
PALETTE_GROUP = 8
"""Samples that share one palette, in every other group. In whole batches batch normalization would cancel it."""
VOCABULARY_CAPTIONS = 512
"""Captions of each family that the tokenizer is trained on."""


def families_tokenizer() -> CLIPTokenizer:
    """A tokenizer for the families' captions, trained once: the weights depend on its ids."""
    if FOLDER.is_dir():
        return CLIPTokenizer.from_pretrained(FOLDER)
    generator, texts = torch.Generator().manual_seed(0), []
    for family in FAMILIES.values():
        pairs = zip(family.shapes(VOCABULARY_CAPTIONS, 0), family.palettes(VOCABULARY_CAPTIONS, 0), strict=True)
        texts += [family.caption(shape, palette, generator) for shape, palette in pairs]
    return train_tokenizer(texts, merges=400)


RESNET = {"timm_model_name": "test_resnet", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}
"""The image encoder: timm's smallest residual network, with new weights.

After 200 batches of 64 it predicts widths and heights (correlation 0.8 to 0.9). A transformer of 8-pixel patches had
learned colours but no shape after 1,000.
"""


def families_config(tokenizer: CLIPTokenizer, vision: dict[str, Any] = RESNET) -> dict[str, Any]:
    """open_clip's model configuration: an image encoder, and two text layers."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": SIZE, **vision},
        "text_cfg": {
            "context_length": MAX_LENGTH, "vocab_size": len(tokenizer), "width": 96, "heads": 4, "layers": 2,
            "hf_tokenizer_name": "families",
        },
    }  # fmt: skip


def build_families_clip(config: dict[str, Any]) -> nn.Module:
    """A model of `families_config`, with new weights."""
    return open_clip.model.CLIP(**config)


def save_open_clip(clip: nn.Module, config: dict[str, Any], tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a model in open_clip's layout with its tokenizer; ``open_clip.create_model("local-dir:...")`` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    processing = {
        "size": config["vision_cfg"]["image_size"], "mode": "RGB", "mean": MEAN, "std": STD,
        "interpolation": "bicubic", "resize_mode": "squash",
    }  # fmt: skip
    tokenizer.save_pretrained(folder)
    with replacing(folder / OPEN_CLIP_CONFIG) as temporary:
        about = {"model_cfg": config, "preprocess_cfg": processing}
        temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    weights = {name: value.half() if value.is_floating_point() else value for name, value in clip.state_dict().items()}
    with replacing(folder / "open_clip_model.safetensors") as temporary:
        save_file(weights, temporary)


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures of objects with their captions and true traits."""

    family: str
    pixels: Float[Tensor, "b 3 s s"]
    """In -1..1."""
    tokens: Int[Tensor, "b t"]
    truth: Float[Tensor, "b k"]
    """Traits and colours, standardized."""


class TraitReader(nn.Module):
    """A CLIP with a linear layer that predicts traits from embeddings before their normalization."""

    def __init__(self, clip: nn.Module, width: int, numbers: int):
        super().__init__()
        self.clip, self.head = clip, nn.Linear(width, numbers)

    def forward(self, pixels: Float[Tensor, "b 3 s s"], tokens: Int[Tensor, "b t"]) -> tuple[Tensor, ...]:
        """Unit embeddings of pictures and texts, the scale of logits, and traits predicted from each."""
        seen, said = self.clip.encode_image(pixels), self.clip.encode_text(tokens)
        units = F.normalize(seen, dim=-1), F.normalize(said, dim=-1)
        return *units, self.clip.logit_scale.exp(), self.head(seen), self.head(said)


class FamiliesTask:
    """The symmetric contrastive loss over (picture, caption) pairs of one family a step, the families in turn.

    In every other group all samples share one palette: among random palettes colours alone distinguish most captions,
    and the model is slow to learn words for shapes.

    Equal captions are positives for each other's pictures. A linear head, dropped after training, also predicts all
    traits and colours from pictures (``reading``) and from captions (``telling``).
    """

    def __init__(self, clip: nn.Module, config: dict[str, Any], tokenizer: CLIPTokenizer, batch_size: int):
        self.clip, self.config, self.tokenizer, self.batch_size = clip, config, tokenizer, batch_size
        self.size: int = config["vision_cfg"]["image_size"]
        widths = [len(family.usual[0]) for family in FAMILIES.values()]
        self.columns = dict(zip(FAMILIES, torch.arange(sum(widths)).split(widths), strict=True))
        self.reader = TraitReader(clip, config["embed_dim"], sum(widths))
        self.modules: Mapping[str, nn.Module] = {"clip": self.reader}

    def batch(self, draws: Draws) -> CaptionedPictures:
        return self.captioned_pictures(list(FAMILIES)[draws.step % len(FAMILIES)], draws)

    def captioned_pictures(self, name: str, draws: Draws) -> CaptionedPictures:
        """Random objects of a family, drawn for the whole step at once, which is fast."""
        family, rows = FAMILIES[name], draws.indices
        count, generator = max(self.batch_size, max(rows) + 1), draws.shared_generator("objects")
        seed = int(torch.randint(2**62, (), generator=generator))
        shapes = family.shapes(count, seed)[rows]
        palettes = family.palettes(count, seed)[
            [row - row % PALETTE_GROUP if row // PALETTE_GROUP % 2 else row for row in rows]
        ]
        said = [
            family.caption(shape, palette, draws.shared_generator(f"caption {row}"))
            for shape, palette, row in zip(shapes, palettes, rows, strict=True)
        ]
        mean, std = family.usual
        return CaptionedPictures(
            name,
            self._pixels(family, shapes, palettes, draws).to(draws.device),
            tokens_of(self.tokenizer, said).to(draws.device),
            ((family.attributes(shapes, palettes) - mean) / std).to(draws.device),
        )

    def _pixels(self, family: Family, shapes: Tensor, palettes: Tensor, draws: Draws) -> Float[Tensor, "b 3 s s"]:
        """Pictures on random backgrounds, some of them blurred."""
        ground, kind = draws.uniform("ground", (3,)).cpu(), draws.uniform("kind", (2,)).cpu()
        ground = torch.where(kind[:, :1] < WHITE_GROUND, torch.ones(3), ground)
        rgb, alpha, _ = family.render(shapes, palettes, front_cameras(family, SIZE, draws))
        values = torch.where(alpha[..., None] > 0, rgb, ground[:, None, None]).permute(0, 3, 1, 2)
        blurred = resized(F.avg_pool2d(values, 2), SIZE)
        values = torch.where((kind[:, 1] < BLURRED)[:, None, None, None], blurred, values)
        return resized(values, self.size) * 2 - 1

    def loss(self, modules: Prepared, batch: CaptionedPictures, draws: Draws) -> dict[str, Tensor]:
        seen, said, scale, *read = modules["clip"](batch.pixels, batch.tokens)
        logits = scale * seen @ said.T
        equal = (batch.tokens[:, None] == batch.tokens[None]).all(-1).float()
        target = equal / equal.sum(1, keepdim=True)
        contrastive = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        columns = self.columns[batch.family].to(logits.device)
        reading, telling = (F.smooth_l1_loss(values[:, columns], batch.truth) for values in read)
        loss = contrastive + TRAIT_WEIGHT * (reading + telling)
        return {"loss": loss, "contrastive": contrastive, "reading": reading, "telling": telling}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Share of new pictures whose own caption, or an equal one, is the nearest of 128."""
        found = {}
        for name in FAMILIES:
            batch = self.captioned_pictures(name, Draws(1, 0, range(128)))
            device = next(self.clip.parameters()).device
            seen, said, _ = self.clip(batch.pixels.to(device), batch.tokens.to(device))
            first = (seen @ said.T).argmax(1).cpu()
            right = (batch.tokens[first] == batch.tokens).all(-1)
            found[f"found_{name}"] = right.float().mean().item()
        return found
