"""DreamBooth-style LoRA, to compare with: low-rank changes of the image model's attention, learned through peft.

As in diffusers' ``train_dreambooth_lora.py`` without prior preservation: the image model's own loss on the pictures and
one sentence with a rare word before the category. The text encoder stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

import pipelines
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared, fit
from pipelines.personalization.latents import LatentPictures
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import read_sources

RARE = "sks"
RANK, LEARNING_RATE = 16, 1e-2
"""The better of ranks 4 and 16 and of rates 3e-4 to 1e-2, on two recoloured objects of nano's training."""
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


class LoraTask:
    """The image model's loss as a function of its low-rank changes."""

    def __init__(self, pipeline: pipelines.NeTIPipeline, pictures: LatentPictures, sentence: str, flip: float):
        self.pipeline, self.pictures, self.flip = pipeline, pictures, flip
        self.modules: dict[str, nn.Module] = {"unet": pipeline.unet}
        with torch.no_grad():
            self.context = pipeline.encode_prompt(sentence, pipeline.device, 1, False)[0]
        self.alphas = pipeline.scheduler.alphas_cumprod.to(pipeline.device)

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Clean latents and noise, drawn as for a word."""
        words = torch.zeros(len(draws.indices), dtype=torch.long, device=draws.device)
        chosen = self.pictures.choose(draws, words, self.flip)
        latents = self.pictures.sample(chosen, draws) * self.pipeline.vae.config.scaling_factor
        return latents, draws.normal("noise", latents.shape[1:])

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        latents, noise = batch
        times = draws.integers("timestep", len(self.alphas))
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        context = self.context.expand(len(noisy), -1, -1)
        predicted = modules["unet"](noisy, times, encoder_hidden_states=context, return_dict=False)[0]
        velocity = self.pipeline.scheduler.config.prediction_type == "v_prediction"
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents if velocity else noise
        return {"loss": (predicted - target).square().mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, float]:
        return {}


def learn(
    images: Sequence[Image.Image], category: str, config: PersonalizeConfig
) -> tuple[pipelines.NeTIPipeline, str]:
    """nano with low-rank changes learned from ``images`` in as many steps and samples, and the words for it."""
    from peft import LoraConfig  # pyright: ignore[reportMissingImports]  # the extra "bench"

    pipeline = pipelines.NeTIPipeline.from_model("nano", device="cpu")
    unet: UNet2DConditionModel = pipeline.unet
    torch.manual_seed(config.train.seed)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS))
    side = unet.config.sample_size * pipeline.vae_scale_factor
    subject = read_sources(list(images), "<thing>", category, None)[0].subject(nn.Identity(), side)
    words = f"{RARE} {category}"
    task = LoraTask(pipeline, LatentPictures(pipeline.vae, [subject], 0.0), f"a photo of a {words}", config.flip)
    fit(task, replace(config.train, learning_rate=LEARNING_RATE))
    unet.eval()
    return pipeline, words
