"""What `pipelines.personalize` trains: the frozen model's loss, as a function of a mapper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers.utils import make_image_grid
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from mappers.neti import TextualInversionMapper, Word
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from .attention import LayerContexts, layer_levels
from .attention_loss import MAP_SIDE, AttentionMaps, attention_loss
from .concepts import Concept
from .contexts import layer_contexts
from .latents import LatentPictures
from .pipeline import NeTIPipeline
from .settings import PersonalizeConfig
from .subjects import Subject, folder_names

TEMPLATES = {
    "object": (
        "a {}",
        "a photo of a {}",
        "a picture of a {}",
        "a photo of one {}",
        "a picture of the {}",
        "a photo of the {}",
    ),
    "style": (
        "a painting in the style of {}",
        "a picture in the style of {}",
        "a drawing in the style of {}",
        "art in the style of {}",
        "a work in the style of {}",
        "a scene in the style of {}",
    ),
}
"""Sentences of the training; short, so that no sentence explains what else is in a picture."""

BACKGROUND = "<background>"
"""A word for the surroundings of the subject, learned with it from masked pictures and then thrown away."""

SAMPLE_PROMPTS = {
    "object": ("a photo of a {}", "a {} on the beach", "a {} in the snow", "a {} in the night sky"),
    "style": tuple(
        f"{scene} in the style of {{}}" for scene in ("a cat", "a house on the beach", "a forest", "a city")
    ),
}
SAMPLE_STEPS = 15
"""Denoising steps of a sample."""

VALIDATION_SAMPLES = 32
"""Samples of a validation loss: as many timesteps, evenly spaced, with the same noise each time."""


class NeTITask:
    """The diffusion model's own loss, as a function of mappers alone (section 3).

    Of several words every sample of a batch shows one, drawn evenly; their mappers are trained together.

    Args:
        pipeline: the frozen model.
        subjects: the words, with masks for all or for none.
        config: how they are learned.
        held_out: the same words with other pictures, to validate on; None takes those of the training.

    Raises:
        ValueError: masks are missing or leave nothing; the early resolution is not below the later one.
    """

    def __init__(
        self,
        pipeline: NeTIPipeline,
        subjects: Sequence[Subject],
        config: PersonalizeConfig,
        held_out: Sequence[Subject] | None = None,
    ):
        self.pipeline, self.subjects, self.config = pipeline, list(subjects), config
        self.text, self.layers = pipeline.text, int(cast(Any, subjects[0].mapper).layers)
        alone, side = len(subjects) == 1, min(subjects[0].pictures.shape[-2:])
        if config.attention_weight and subjects[0].inside is None:
            raise ValueError("attention_weight keeps words within their masks, and there are none; give masks as well")
        if config.early_resolution is not None and config.early_resolution >= side:
            raise ValueError(f"early_resolution must be below the later {side} pixels, got {config.early_resolution}")
        self.mappers = ["mapper" if alone else f"mapper_{i}" for i in range(len(subjects))]
        self.modules: dict[str, nn.Module] = {
            name: subject.mapper for name, subject in zip(self.mappers, subjects, strict=True)
        }
        vae, outside = pipeline.vae, config.outside_weight
        self.pictures = LatentPictures(vae, subjects, outside)
        self.early = LatentPictures(vae, subjects, outside, config.early_resolution) if config.early_steps else None
        self.held_out = None if held_out is None else LatentPictures(vae, held_out, outside)
        self.token, sentences = subjects[0].token, list(TEMPLATES[config.learns])
        self.backgrounds: list[str] = []
        if self.pictures.weights is not None and outside:
            self.backgrounds = [name.replace("mapper", "background") for name in self.mappers]
            self.modules |= {name: _background(pipeline, self.layers) for name in self.backgrounds}
            sentences = [f"{sentence} in {BACKGROUND}" for sentence in sentences]
        # The first word's token is the placeholder in all sentences; a sample's word differs by its embedding only.
        self.prompts = self.text.tokenize([s.format(self.token) for s in sentences], [self.token, BACKGROUND])
        self.context_of_layer = pipeline.context_of_layer([subject.mapper for subject in subjects])
        self.levels = layer_levels(pipeline.unet, pipeline.cross_attentions)
        # The training noise schedule is that of the model, whichever scheduler samples from it.
        self.alphas = pipeline.scheduler.alphas_cumprod.to(pipeline.device)
        self.predicts = str(pipeline.scheduler.config.prediction_type)
        if self.predicts not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(
                f"the model predicts {self.predicts}; words can be learned where it predicts noise, velocity "
                "or the picture: epsilon, v_prediction or sample"
            )

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Clean latents, sampled anew from the cached posteriors, and the noise [b, c, h, w]."""
        pictures, (points, rows) = self._pictures(draws), self._points(draws)
        return self._latents(pictures, pictures.choose(draws, self._words(points)[rows], self.config.flip), draws)

    def _pictures(self, draws: Draws) -> LatentPictures:
        return self.early if self.early is not None and draws.step < self.config.early_steps else self.pictures

    def _latents(self, pictures: LatentPictures, chosen: tuple[Tensor, Tensor], draws: Draws) -> tuple[Tensor, Tensor]:
        latents = pictures.sample(chosen, draws) * self.pipeline.vae.config.scaling_factor
        return latents, draws.normal("noise", latents.shape[1:])

    def _points(self, draws: Draws) -> tuple[Draws, Tensor]:
        """Draws for the groups of samples that share word, timestep and sentence, and the group of each sample."""
        groups = [index // self.config.shared_points for index in draws.indices]
        points = Draws(draws.seed, draws.step, list(dict.fromkeys(groups)), draws.device)
        return points, torch.tensor([points.indices.index(group) for group in groups], device=draws.device)

    def _words(self, points: Draws) -> Int[Tensor, " p"]:
        return points.integers("word", len(self.subjects))

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Squared error of the model's prediction (noise or velocity), all layers in one text-encoder call."""
        latents, noise = batch
        points, rows = self._points(draws)
        times, words = points.integers("timestep", len(self.alphas)), self._words(points)
        templates = points.integers("template", len(TEMPLATES[self.config.learns])).cpu()
        kept = cast(Any, self.subjects[0].mapper).draw_kept_units(points)
        contexts = self._contexts(modules, times, words, templates, kept).rows(rows)
        attention_maps = None
        if self.config.attention_weight:
            positions = torch.stack([part.positions[self.token][templates] for part in self.prompts]).any(0)
            side = latents.shape[-1]
            sides = {-(-side // 2**level) for level in self.levels}
            attention_maps = AttentionMaps(
                positions.to(draws.device)[rows], min(sides, key=lambda cells: abs(cells - MAP_SIDE))
            )
        errors = self._errors(latents, noise, times[rows], contexts, attention_maps)
        pictures = self._pictures(draws)
        chosen = pictures.choose(draws, words[rows], self.config.flip)
        if pictures.weights is not None:
            errors = errors * pictures.weights[chosen]
        loss = errors.mean()
        if attention_maps is None or pictures.inside is None:
            return {"loss": loss}
        attention = attention_loss(attention_maps.mean(), pictures.inside[chosen])
        return {"loss": loss + self.config.attention_weight * attention, "attention": attention}

    def _contexts(
        self, modules: Prepared, times: Tensor, words: Tensor, templates: Tensor, kept: Tensor | None
    ) -> LayerContexts:
        """What the layers attend to at points in time that each show a word in a sentence."""
        at = times.repeat_interleave(self.layers), torch.arange(self.layers, device=times.device).repeat(len(times))
        kept = None if kept is None else kept.flatten()
        word_of_row = words.repeat_interleave(self.layers)
        embedded = {self.token: _select([modules[name](*at, kept=kept) for name in self.mappers], word_of_row)}
        if self.backgrounds:
            embedded[BACKGROUND] = _select([modules[name](*at) for name in self.backgrounds], word_of_row)
        prompts = [part.rows(templates) for part in self.prompts]
        return layer_contexts(self.text, prompts, embedded, self.layers, self.context_of_layer)

    def _errors(
        self,
        latents: Tensor,
        noise: Tensor,
        times: Tensor,
        contexts: LayerContexts,
        attention_maps: AttentionMaps | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Squared errors of what the model predicts, weighted by timestep."""
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        target = {"epsilon": noise, "v_prediction": velocity, "sample": latents}[self.predicts]
        predicted = self.pipeline.predict(
            noisy.to(self.pipeline.unet.dtype), times, contexts, attention_maps=attention_maps
        )
        errors = (predicted.float() - target).square()
        if self.config.min_snr is not None:
            errors = errors * min_snr_weight(alpha, self.config.min_snr, self.predicts)
        return errors

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """One picture of each sample prompt, and with patience a loss; the noise is the same at every step."""
        pipeline, results = self.pipeline, dict[str, Any]()
        names = [""] if len(self.subjects) == 1 else [f"_{n}" for n in folder_names([s.token for s in self.subjects])]
        for name, subject in zip(names, self.subjects, strict=True):
            pipeline.concepts[subject.token] = Concept(subject.token, "", subject.mapper, pipeline.base)
            try:
                results[f"samples{name}"] = sample_grid(
                    pipeline, subject.token, self.config.train.seed, columns=1, learns=self.config.learns
                )
            finally:
                del pipeline.concepts[subject.token]
        if self.config.train.patience is not None:
            results["loss"] = self._validation_loss(modules)
        return results

    def _validation_loss(self, modules: Prepared) -> float:
        """The loss without dropout, mirroring and chance, on the held-out pictures if there are any."""
        pictures = self.held_out or self.pictures
        total, size = 0.0, self.config.train.batch_size // self.config.train.gradient_accumulation
        for first in range(0, VALIDATION_SAMPLES, size):
            indices = range(first, min(first + size, VALIDATION_SAMPLES))
            draws = Draws(self.config.train.seed, -1, indices, self.alphas.device)
            at = torch.tensor(indices, device=draws.device)
            times = (2 * at + 1) * len(self.alphas) // (2 * VALIDATION_SAMPLES)
            words, templates = at % len(self.subjects), (at % len(TEMPLATES[self.config.learns])).cpu()
            chosen = pictures.choose(draws, words, flip=0.0)
            latents, noise = self._latents(pictures, chosen, draws)
            errors = self._errors(latents, noise, times, self._contexts(modules, times, words, templates, None))
            if pictures.weights is not None:
                errors = errors * pictures.weights[chosen]
            total += float(errors.mean()) * len(indices)
        return total / VALIDATION_SAMPLES


def _select(words: Sequence[Word], word_of_row: Int[Tensor, " b"]) -> Word:
    """For each row its word. All words take part in every step, so that no process waits for gradients of one."""
    if len(words) == 1:
        return words[0]
    rows = torch.arange(len(word_of_row), device=word_of_row.device)
    embedding = torch.stack([word.embedding for word in words])[word_of_row, rows]
    bypasses = [word.bypass for word in words if word.bypass is not None]
    return Word(embedding, torch.stack(bypasses)[word_of_row, rows] if bypasses else None)


def sample_grid(pipeline: NeTIPipeline, token: str, seed: int, *, columns: int, learns: str = "object") -> Image.Image:
    """A row of ``columns`` pictures for each of `SAMPLE_PROMPTS` of what the word is for."""
    pictures = pipeline(
        [prompt.format(token) for prompt in SAMPLE_PROMPTS[learns]],
        num_inference_steps=SAMPLE_STEPS,
        guidance_scale=5.0,
        num_images_per_prompt=columns,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return make_image_grid(pictures, rows=len(SAMPLE_PROMPTS[learns]), cols=columns)


def min_snr_weight(alphas: Float[Tensor, "b ..."], limit: float, predicts: str) -> Float[Tensor, "b ..."]:
    """Min-SNR weighting (arXiv 2303.09556): min(snr, limit) / snr of a noise prediction, / (snr + 1) of a velocity.

    Of a predicted picture it is min(snr, limit) itself.

    Args:
        alphas: cumulative products of the noise schedule at each sample's timestep.
        limit: the paper's gamma.
        predicts: what the model predicts: epsilon, v_prediction or sample.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(max=limit) / {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[predicts]


def _background(pipeline: NeTIPipeline, layers: int) -> TextualInversionMapper:
    parts = pipeline.text.category_embedding("background")
    word = TextualInversionMapper(layers, [len(part) for part in parts], [float(part.norm()) for part in parts])
    word.start_at(torch.cat(parts))
    return word.to(pipeline.device)
