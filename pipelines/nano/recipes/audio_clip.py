"""The image encoder of nano-audio: nano-clip's, fine-tuned on the sixteen objects that have sounds.

nano-clip knows 350 objects, and its captions name no sizes; this encoder knows 16 objects and their sizes. The text
encoder is frozen, so texts have the same embeddings as in nano-clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from mappers.hub import resolve
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from ..world.captions import with_article
from ..world.moments import FACTORS, NAMES, Moment, numbered_moment, sample_moment
from .clap import multi_positive_loss
from .clip import tokens_of

WIDTH = 128
HELD_OUT_SEED = 1


def build_audio_clip() -> CLIPModel:
    """nano-clip with its text encoder frozen."""
    clip = CLIPModel.from_pretrained(resolve("nano-clip", "CLIP"))
    clip.text_model.requires_grad_(False)
    clip.text_projection.requires_grad_(False)
    return clip


def pixels_of(moments: Sequence[Moment]) -> Float[Tensor, "n 3 64 64"]:
    """Pictures of moments, in [-1, 1]."""
    pixels = np.stack([moment.picture() for moment in moments])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def plain_caption(name: str) -> str:
    """The caption that only names the object: "a photo of a bell"."""
    return f"a photo of {with_article(name)}"


class AudioCLIPTask:
    """Contrastive loss over (picture, caption) pairs; one caption in three only names the object. No sound is used.

    Two linear heads on the picture embedding, dropped after training, classify the object (``naming``) and predict
    size, count and brightness (``telling``).
    """

    name_only_share = 1 / 3
    validated = 512

    def __init__(self, clip: CLIPModel, tokenizer: CLIPTokenizer):
        self.clip, self.tokenizer = clip, tokenizer
        self.naming, self.telling = nn.Linear(WIDTH, len(NAMES)), nn.Linear(WIDTH, FACTORS)
        self.modules: Mapping[str, nn.Module] = {"clip": clip, "naming": self.naming, "telling": self.telling}
        self.held_out = [numbered_moment(HELD_OUT_SEED, index) for index in range(self.validated)]
        self.unseen = pixels_of(self.held_out)

    def batch(self, draws: Draws) -> dict[str, Tensor]:
        moments = [sample_moment(draws.numpy(i)) for i in range(len(draws))]
        name_only = (draws.uniform("loose") < self.name_only_share).tolist()
        batch = {
            "pixels": pixels_of(moments),
            "tokens": tokens_of(
                self.tokenizer,
                [
                    plain_caption(moment.name) if alone else moment.picture_caption()
                    for moment, alone in zip(moments, name_only, strict=True)
                ],
            ),
            "fits": torch.tensor(
                [
                    [a is b or (alone and a.name == b.name) for b, alone in zip(moments, name_only, strict=True)]
                    for a in moments
                ]
            ),
            "names": torch.tensor([NAMES.index(moment.name) for moment in moments]),
            "factors": torch.tensor([moment.factors for moment in moments]),
        }
        return {name: value.to(draws.device) for name, value in batch.items()}

    def loss(self, modules: Prepared, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        output = modules["clip"](input_ids=batch["tokens"], pixel_values=batch["pixels"])
        logits, fits = output.logits_per_image.float(), batch["fits"]
        contrastive = (multi_positive_loss(logits, fits) + multi_positive_loss(logits.T, fits.T)) / 2
        direction = output.image_embeds * WIDTH**0.5
        naming = F.cross_entropy(modules["naming"](direction).float(), batch["names"])
        telling = F.mse_loss(modules["telling"](direction).float(), batch["factors"])
        loss = contrastive + naming + telling
        return {"loss": loss, "contrastive": contrastive, "naming": naming, "telling": telling}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Share of held-out pictures named right by text, and the correlation of predicted with true sizes."""
        device = next(self.clip.parameters()).device
        texts = tokens_of(self.tokenizer, [plain_caption(name) for name in NAMES])
        output = self.clip(input_ids=texts.to(device), pixel_values=self.unseen.to(device))
        right = output.logits_per_image.argmax(1).cpu() == torch.tensor([NAMES.index(m.name) for m in self.held_out])
        predicted = self.telling(output.image_embeds * WIDTH**0.5).cpu()
        sizes = torch.stack([predicted[:, 0], torch.tensor([moment.factors[0] for moment in self.held_out])])
        return {"named": right.float().mean().item(), "size_correlation": torch.corrcoef(sizes)[0, 1].item()}
