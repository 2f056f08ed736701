"""The generative mapper of V2A-Mapper (arXiv 2308.09300): a diffusion prior over target embeddings, as in unCLIP.

The paper gives only its size: 48.83 million weights. A causal transformer of width 512 over the sequence [null text,
condition, timestep, noisy target, learned query] has exactly that many; a test counts them. Its output at the query is
the predicted clean embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .normalization import normalize_rms
from .registry import register_mapper
from .training.draws import Draws
from .v2a import EmbeddingMapper

__all__ = ["DiffusionPriorMapper", "ModelMixin"]  # diffusers finds the loader of a pipeline's part by this name here

TIMESTEPS = 1000
MAX_DISTANCE = 128
"""All distances of at least so many tokens share one position bias."""


class DiffusionPriorMapper(EmbeddingMapper):
    """Samples a target embedding for a condition, by denoising diffusion.

    Args:
        source: width of the condition.
        target: width of the embeddings that it samples, and of the transformer.
        depth: layers.
        heads: attention heads, which share one key and one value.
        head_width: width of a head.
        null_tokens: learned tokens in the position of a text prior's caption.
        drop: share of training samples without condition, and, independently, without noisy target.
        source_space: id of the source model; see `check_spaces`.
        target_space: id of the target model.
    """

    generative = True

    @register_to_config
    def __init__(
        self,
        source: int,
        target: int,
        *,
        depth: int = 12,
        heads: int = 12,
        head_width: int = 64,
        null_tokens: int = 77,
        drop: float = 0.1,
        source_space: str | None = None,
        target_space: str | None = None,
    ):
        super().__init__()
        if not 0 <= drop < 1:
            raise ValueError(f"drop must be at least 0 and below 1, got {drop}")
        self.noising = prior_scheduler()  # built once: diffusers computes its 1,000 rates one by one
        self.project = nn.Identity() if source == target else nn.Linear(source, target, bias=False)
        self.null_text = nn.Parameter(torch.randn(null_tokens, target))
        self.null_condition = nn.Parameter(torch.randn(target))
        self.null_target = nn.Parameter(torch.randn(target))
        self.query = nn.Parameter(torch.randn(target))
        self.times = nn.Embedding(TIMESTEPS, target)
        self.bias = PositionBias(heads)
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(target, heads, head_width), FeedForward(target)]) for _ in range(depth)
        )
        self.norm = GainLayerNorm(target)
        self.output = nn.Linear(target, target, bias=False)

    def forward(
        self,
        noisy: Float[Tensor, "b a"],
        timesteps: Int[Tensor, " b"],
        condition: Float[Tensor, "b c"],
        *,
        with_condition: Bool[Tensor, " b"] | None = None,
        with_target: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b a"]:
        """The clean embedding, at a root mean square of about one.

        Args:
            noisy: noisy target; the clean one has a root mean square of one (`normalize_rms`).
            timesteps: 0..999.
            condition: embedding of the source space, of a root mean square of one.
            with_condition: rows that see their condition; None means all.
            with_target: rows that see their noisy target; None means all.
        """
        seen = self.project(condition)
        if with_condition is not None:
            seen = torch.where(with_condition[:, None], seen, self.null_condition)
        if with_target is not None:
            noisy = torch.where(with_target[:, None], noisy, self.null_target)
        rows = [seen, self.times(timesteps), noisy, self.query.expand_as(seen)]
        tokens = torch.cat([self.null_text.expand(len(seen), -1, -1), torch.stack(rows, 1)], 1)
        bias = self.bias(tokens.shape[1])
        for attention, feed_forward in self.layers:  # pyright: ignore[reportGeneralTypeIssues]
            tokens = tokens + attention(tokens, bias)
            tokens = tokens + feed_forward(tokens)
        return self.output(self.norm(tokens[:, -1]))

    def loss(
        self,
        forward: Callable[..., Tensor],
        condition: Float[Tensor, "b c"],
        target: Float[Tensor, "b a"],
        draws: Draws,
    ) -> Tensor:
        """Squared error of the clean embedding at even timesteps of a cosine schedule."""
        clean = normalize_rms(target)
        noise = draws.normal("noise", clean.shape[1:])
        u = draws.uniform("prior", (3,))
        timesteps = (u[:, 0] * TIMESTEPS).long()
        noisy = self.noising.add_noise(clean, noise, timesteps)  # pyright: ignore[reportArgumentType]
        predicted = forward(
            noisy, timesteps, normalize_rms(condition),
            with_condition=u[:, 1] >= self.config.drop, with_target=u[:, 2] >= self.config.drop,
        )  # fmt: skip
        return F.mse_loss(predicted.float(), clean)

    @torch.no_grad()
    def translate(
        self,
        condition: Float[Tensor, "b c"],
        *,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: DDIMScheduler | None = None,
    ) -> Float[Tensor, "b a"]:
        """Sample embeddings of unit length, by default in 64 steps and with guidance 1.

        For guidance the unconditional pass still gets the noisy target; without it there is nothing to denoise.

        Raises:
            ValueError: a wrong width, guidance of a mapper that was trained without dropped conditions, fewer than one
                step, or a scheduler that clips samples or does not predict the clean sample.
        """
        steps = 64 if num_inference_steps is None else num_inference_steps
        scale = 1.0 if guidance_scale is None else guidance_scale
        if not 1 <= steps <= TIMESTEPS:
            raise ValueError(f"num_inference_steps must be in 1..{TIMESTEPS}, got {steps}")
        if scale != 1 and not self.config.drop:
            raise ValueError(
                f"guidance_scale {scale} needs a mapper that was trained with dropped conditions; this one was not"
            )
        scheduler = prior_scheduler() if scheduler is None else checked_scheduler(scheduler)
        scheduler.set_timesteps(steps, device=condition.device)
        seen = normalize_rms(self.checked(condition))
        shape = (len(seen), self.config.target)
        sample = randn_tensor(shape, generator=generator, device=seen.device, dtype=torch.float32)
        nothing = torch.zeros(len(seen), dtype=torch.bool, device=seen.device)
        for timestep in scheduler.timesteps:
            times = timestep.expand(len(seen))
            noisy = sample.to(self.dtype)
            clean = self(noisy, times, seen).float()
            if scale != 1:
                without = self(noisy, times, seen, with_condition=nothing).float()
                clean = without + scale * (clean - without)
            sample = scheduler.step(clean, timestep, sample).prev_sample  # pyright: ignore[reportArgumentType]
        return F.normalize(sample, dim=-1)


def prior_scheduler() -> DDIMScheduler:
    """The prior's noise schedule: cosine, 1,000 steps; the model predicts the clean sample."""
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def checked_scheduler(scheduler: DDIMScheduler) -> DDIMScheduler:
    """Return ``scheduler`` if the prior can be sampled with it.

    Raises:
        ValueError: it clips samples (entries exceed one here), or does not expect a prediction of the clean sample.
    """
    if scheduler.config["clip_sample"]:
        raise ValueError("the mapper's scheduler has clip_sample=True, which clips embeddings; set it to False")
    if scheduler.config["prediction_type"] != "sample":
        raise ValueError(
            f"the mapper's scheduler has prediction_type={scheduler.config['prediction_type']!r}; the mapper predicts"
            " the clean sample, so it must be 'sample'"
        )
    return scheduler


class GainLayerNorm(nn.Module):
    """Layer normalization with a gain and no shift."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return F.layer_norm(x, x.shape[-1:], self.gain)


class PositionBias(nn.Module):
    """T5's relative position bias: one number for each head and bucket of distances (arXiv 1910.10683)."""

    def __init__(self, heads: int, buckets: int = 32):
        super().__init__()
        self.buckets = buckets
        self.table = nn.Embedding(buckets, heads)

    def forward(self, length: int) -> Float[Tensor, "h l k"]:
        """Causal bias of ``length`` queries for 1 + ``length`` keys, the first of which precedes all tokens."""
        place = torch.arange(length, device=self.table.weight.device)
        key = torch.arange(-1, length, device=place.device)
        distance = place[:, None] - key
        exact = self.buckets // 2
        near = distance.clamp(min=1)
        wide = exact + (near / exact).log() / math.log(MAX_DISTANCE / exact) * (self.buckets - exact)
        bucket = torch.where(distance < exact, distance.clamp(min=0), wide.long().clamp(max=self.buckets - 1))
        return self.table(bucket).permute(2, 0, 1).masked_fill(distance < 0, float("-inf"))


class Attention(nn.Module):
    """Causal multi-query attention (all heads share one key and value) with a learned null key and value."""

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.norm = GainLayerNorm(width)
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(width, 2 * head_width, bias=False)
        self.null = nn.Parameter(torch.randn(2, head_width))
        self.output = nn.Sequential(nn.Linear(heads * head_width, width, bias=False), GainLayerNorm(width))

    def forward(self, x: Float[Tensor, "b l d"], bias: Float[Tensor, "h l k"]) -> Float[Tensor, "b l d"]:
        x = self.norm(x)
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, h, l, w]
        pair = self.key_value(x).unflatten(-1, (2, -1))
        pair = torch.cat([self.null.expand(len(x), 1, -1, -1), pair], 1)  # [b, 1 + l, 2, w]
        key, value = (part[:, None].expand(-1, self.heads, -1, -1) for part in pair.unbind(2))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.output(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU of four times the width, with layer normalization after the activation."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = GainLayerNorm(width)
        self.input = nn.Linear(width, 8 * width, bias=False)
        self.inner = GainLayerNorm(4 * width)
        self.output = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        value, gate = self.input(self.norm(x)).chunk(2, -1)
        return self.output(self.inner(value * F.silu(gate)))


register_mapper("v2a-prior", DiffusionPriorMapper)
