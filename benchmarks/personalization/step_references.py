"""Baselines of `benchmarks.personalization.step`: others' steps on a random model of Stable Diffusion 1.4's size."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mappers.hub import resolve
from mappers.neti import NeTIMapper, Word
from pipelines.personalization.pipeline import NeTIPipeline

BYPASS = 0.2
"""Length of the textual bypass (arXiv 2305.15391, section 4.4)."""
SIZES = {
    "sd1.4": ((320, 640, 1280, 1280), 768, 8, (128, 256, 512, 512), 12, 49408, 77),
    "tiny": ((8, 8, 16, 16), 16, 2, (8, 8, 8, 8), 2, None, 24),
}
"""UNet channels, text width, attention heads, autoencoder channels, text layers, vocabulary, tokens of a prompt."""


def build(size: str, pixels: int, device: torch.device) -> NeTIPipeline:
    """A Stable Diffusion 1 with random weights; nano's tokenizer, whose ids fit in, does for words."""
    channels, width, heads, vae_channels, text_layers, vocabulary, length = SIZES[size]
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(
        Path(resolve("nano", "text-to-image")) / "tokenizer", model_max_length=length
    )
    text = CLIPTextConfig(
        vocab_size=vocabulary or len(tokenizer), hidden_size=width, intermediate_size=4 * width,
        num_hidden_layers=text_layers, num_attention_heads=max(2, width // 64), max_position_embeddings=length,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=pixels // 8, block_out_channels=channels, cross_attention_dim=width, attention_head_dim=heads,
        norm_num_groups=min(32, channels[0] // 2),
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=vae_channels, layers_per_block=2, norm_num_groups=min(32, vae_channels[0] // 2),
        sample_size=pixels,
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    parts = [part.eval().requires_grad_(False) for part in (vae, CLIPTextModel(text), unet)]
    pipeline = NeTIPipeline(
        vae=parts[0], text_encoder=parts[1], tokenizer=tokenizer, unet=parts[2], scheduler=scheduler,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def in_bf16(pipeline: NeTIPipeline) -> NeTIPipeline:
    """A copy with bf16 weights."""
    parts = {
        name: copy.deepcopy(part).to(torch.bfloat16) if isinstance(part, nn.Module) else part
        for name, part in pipeline.components.items()
    }
    half = NeTIPipeline(**parts, requires_safety_checker=False)
    half.set_progress_bar_config(disable=True)
    return half


class LayerAttention:
    """Cross-attention that reads its layer's keys and values from a list, with the scores spelled out."""

    def __init__(self, layer: int, contexts: list[tuple[Tensor, Tensor]]):
        self.layer, self.contexts = layer, contexts

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        keys, values = self.contexts[self.layer]
        query, key, value = (
            attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(keys), attn.to_v(values))
        )
        weights = (query @ key.transpose(1, 2) * attn.scale).softmax(-1)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(weights @ value)))


@dataclass
class Sample:
    """What a step sees; the same for all."""

    pixels: Tensor
    posterior: Tensor
    noise: Tensor
    times: Tensor
    ids: Tensor
    position: Tensor
    kept: Tensor


class Plain:
    """The steps of other programs, on a text encoder of their own whose token table is trainable.

    Every step encodes its pictures, and puts the other words' rows of the token table back afterwards.
    """

    def __init__(self, pipeline: NeTIPipeline, mapper: NeTIMapper):
        self.pipeline, self.mapper = pipeline, mapper
        self.encoder = copy.deepcopy(pipeline.text_encoder)
        self.table = self.encoder.get_input_embeddings().weight.requires_grad_(True)
        self.before = self.table.detach().clone()
        self.norm = next(m for name, m in self.encoder.named_modules() if name.endswith("final_layer_norm"))
        self.contexts: list[tuple[Tensor, Tensor]] = []
        self.of_mapper = torch.optim.AdamW(mapper.parameters(), lr=1e-3)
        self.of_table = torch.optim.AdamW([self.table], lr=1e-3)

    @contextmanager
    def layers(self) -> Iterator[None]:
        """The UNet with `LayerAttention`."""
        unet, before = self.pipeline.unet, dict(self.pipeline.unet.attn_processors)
        layers = [f"{name}.processor" for name in self.pipeline.cross_attentions]
        unet.set_attn_processor(
            {n: LayerAttention(layers.index(n), self.contexts) if n in layers else p for n, p in before.items()}
        )
        try:
            yield
        finally:
            unet.set_attn_processor(before)

    def encode(self, sample: Sample, word: Word) -> tuple[Tensor, Tensor]:
        """Keys and values of the batch in one layer."""
        states: list[Tensor] = []

        def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            return torch.where(sample.position[..., None], word.embedding[:, None], output)

        hooks = [
            self.encoder.get_input_embeddings().register_forward_hook(replace),
            self.norm.register_forward_pre_hook(lambda _module, inputs: states.append(inputs[0])),
        ]
        keys = self.encoder(input_ids=sample.ids).last_hidden_state
        for hook in hooks:
            hook.remove()
        assert word.bypass is not None
        direction = (word.bypass / word.bypass.norm(dim=-1, keepdim=True))[:, None]
        passed = states[0] + BYPASS * states[0].norm(dim=-1, keepdim=True) * direction
        return keys, self.norm(torch.where(sample.position[..., None], passed, states[0]))

    def noisy(self, sample: Sample) -> Tensor:
        with torch.no_grad():
            posterior = self.pipeline.vae.encode(sample.pixels).latent_dist
            latents = (posterior.mean + posterior.std * sample.posterior) * self.pipeline.vae.config.scaling_factor
        return self.pipeline.scheduler.add_noise(latents, sample.noise, sample.times)

    def neti_loss(self, sample: Sample) -> Tensor:
        noisy = self.noisy(sample)
        self.contexts.clear()
        for layer in range(self.pipeline.layers):
            word = self.mapper(sample.times, torch.full_like(sample.times, layer), kept=sample.kept[:, layer])
            self.contexts.append(self.encode(sample, word))
        predicted = self.pipeline.unet(noisy, sample.times, self.contexts[0][0]).sample
        return F.mse_loss(predicted, sample.noise)

    def neti(self, sample: Sample) -> None:
        self.neti_loss(sample).backward()
        self.of_mapper.step()
        self.of_mapper.zero_grad()
        self.put_back()

    def textual_inversion(self, sample: Sample) -> None:
        noisy = self.noisy(sample)
        ids = torch.where(sample.position, len(self.table) - 1, sample.ids)
        context = self.encoder(input_ids=ids).last_hidden_state
        F.mse_loss(self.pipeline.unet(noisy, sample.times, context).sample, sample.noise).backward()
        self.of_table.step()
        self.of_table.zero_grad()
        self.put_back()

    @torch.no_grad()
    def put_back(self) -> None:
        others = torch.ones(len(self.table), dtype=torch.bool)
        others[-1] = False
        self.table[others] = self.before[others]
