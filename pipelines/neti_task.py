"""What `pipelines.personalize` trains: the frozen model's loss, as a function of a mapper."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils import make_image_grid
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.draws import Draws
from mappers.neti import TextualInversionMapper
from mappers.trainer import Prepared

from .concepts import Concept
from .contexts import layer_contexts
from .neti_pipeline import NeTIPipeline
from .settings import PersonalizeConfig

TEMPLATES = (
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "a photo of one {}",
    "a picture of the {}",
    "a photo of the {}",
)
"""Sentences of the training; short and plain, so that what else is in a picture is not blamed on a sentence."""

BACKGROUND = "<background>"
"""A word for what surrounds the thing, learned beside it from masked pictures and then thrown away."""

SAMPLE_PROMPTS = ("a photo of a {}", "a {} on the beach", "a {} in the snow", "a {} in the night sky")


class NeTITask:
    """The diffusion model's own loss, as a function of the mapper alone (section 3).

    Args:
        pipeline: the frozen model.
        mapper: what is learned.
        token: the word.
        pictures: in [-1, 1].
        config: how it is learned.
        inside: 1 where the thing is, 0 elsewhere; None counts whole pictures.
    """

    def __init__(
        self,
        pipeline: NeTIPipeline,
        mapper: nn.Module,
        token: str,
        pictures: Float[Tensor, "n 3 h w"],
        config: PersonalizeConfig,
        inside: Float[Tensor, "n 1 h w"] | None = None,
    ):
        self.pipeline, self.mapper, self.token, self.config = pipeline, mapper, token, config
        self.modules: dict[str, nn.Module] = {"mapper": mapper}
        self.mean, self.std = _posteriors(pipeline, pictures)
        self.text = pipeline.text
        self.weights, sentences = None, [t.format(token) for t in TEMPLATES]
        if inside is not None:
            self.weights = _weights(inside, self.mean, config.outside_weight)
            if config.outside_weight:
                self.modules["background"] = _background(pipeline, mapper.layers)
                sentences = [f"{sentence} in {BACKGROUND}" for sentence in sentences]
        self.prompts = self.text.tokenize(sentences, [token, BACKGROUND])
        self.readers = pipeline.readers([mapper])
        # The training noise schedule is that of the model, whichever scheduler samples from it.
        self.alphas = pipeline.scheduler.alphas_cumprod.to(pipeline.device)

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Clean latents, sampled anew from the cached posteriors, and the noise [b, c, h, w]."""
        chosen = self._chosen(draws)
        latents = self.mean[chosen] + self.std[chosen] * draws.normal("posterior", self.mean.shape[2:])
        return latents * self.pipeline.vae.config.scaling_factor, draws.normal("noise", self.mean.shape[2:])

    def _chosen(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """The picture of each sample, and whether it is mirrored."""
        return draws.integers("picture", len(self.mean)), (draws.uniform("flip") < self.config.flip).long()

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Squared error of the model's prediction (noise or velocity), all layers in one text-encoder call."""
        latents, noise = batch
        pipeline, layers = self.pipeline, self.mapper.layers
        groups = [index // self.config.shared_points for index in draws.indices]
        points = Draws(draws.seed, draws.step, list(dict.fromkeys(groups)), draws.device)
        rows = torch.tensor([points.indices.index(group) for group in groups], device=draws.device)

        times = points.integers("timestep", len(self.alphas))
        chosen = points.integers("template", len(TEMPLATES)).cpu()
        kept = self.mapper.draw_kept(points)
        at = times.repeat_interleave(layers), torch.arange(layers, device=draws.device).repeat(len(points))
        words = {self.token: modules["mapper"](*at, kept=None if kept is None else kept.flatten())}
        if "background" in modules:
            words[BACKGROUND] = modules["background"](*at)
        prompts = [part.rows(chosen) for part in self.prompts]
        contexts = layer_contexts(self.text, prompts, words, layers, self.readers).rows(rows)

        alpha = self.alphas[times[rows]].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents if velocity else noise
        predicted = pipeline.predict(noisy.to(pipeline.unet.dtype), times[rows], contexts)
        errors = (predicted.float() - target).square()
        if self.weights is not None:
            errors = errors * self.weights[self._chosen(draws)]
        if self.config.min_snr is not None:
            errors = errors * min_snr_weight(alpha, self.config.min_snr, velocity=velocity)
        return {"loss": errors.mean()}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """One picture of each sample prompt; the noise is the same at every step."""
        learned = Concept(self.token, "", self.mapper, self.pipeline.base)
        self.pipeline.concepts[self.token] = learned
        try:
            return {"samples": sample_grid(self.pipeline, self.token, self.config.train.seed, columns=1)}
        finally:
            del self.pipeline.concepts[self.token]


def sample_grid(pipeline: NeTIPipeline, token: str, seed: int, *, columns: int) -> Image.Image:
    """A row of ``columns`` pictures for each of `SAMPLE_PROMPTS`."""
    pictures = pipeline(
        [prompt.format(token) for prompt in SAMPLE_PROMPTS],
        num_inference_steps=25,
        guidance_scale=5.0,
        num_images_per_prompt=columns,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return make_image_grid(pictures, rows=len(SAMPLE_PROMPTS), cols=columns)


def min_snr_weight(alphas: Float[Tensor, "b ..."], limit: float, *, velocity: bool) -> Float[Tensor, "b ..."]:
    """Min-SNR weighting (arXiv 2303.09556): min(snr, limit) / snr of a noise prediction, / (snr + 1) of a velocity.

    Args:
        alphas: cumulative products of the noise schedule at each sample's timestep.
        limit: the paper's gamma.
        velocity: what the model predicts.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(max=limit) / (snr + 1 if velocity else snr)


@torch.no_grad()
def _posteriors(pipeline: NeTIPipeline, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [n, 2, c, h, w] of each picture and its mirror image, encoded once."""
    means, deviations = [], []
    for picture in pictures:
        pair = torch.stack([picture, picture.flip(-1)]).to(pipeline.device, pipeline.vae.dtype)
        posterior = pipeline.vae.encode(pair).latent_dist
        means.append(posterior.mean.float())
        deviations.append(posterior.std.float())
    return torch.stack(means), torch.stack(deviations)


def _weights(inside: Float[Tensor, "n 1 h w"], latents: Tensor, outside: float) -> Float[Tensor, "n 2 1 lh lw"]:
    """Weights of the loss for each picture and its mirror image; their mean over a picture is 1.

    Raises:
        ValueError: a mask leaves nothing.
    """
    share = F.interpolate(inside.to(latents.device), size=latents.shape[-2:], mode="area")
    weights = share + outside * (1 - share)
    mean = weights.mean((1, 2, 3), keepdim=True)
    empty = (share.amax((1, 2, 3)) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"the mask of picture {empty[0] + 1} is black within the centred square; mark the thing in white"
        )
    weights = weights / mean
    return torch.stack([weights, weights.flip(-1)], dim=1)


def _background(pipeline: NeTIPipeline, layers: int) -> TextualInversionMapper:
    parts = pipeline.text.category_embedding("background")
    word = TextualInversionMapper(layers, [len(part) for part in parts], [float(part.norm()) for part in parts])
    word.start_at(torch.cat(parts))
    return word.to(pipeline.device)
