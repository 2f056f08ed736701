"""What `pipelines.personalize` trains on a diffusion transformer: its own loss, as a function of a word's mapper."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mappers.neti import SiteMapper, Word
from mappers.training.draws import Draws
from mappers.training.trainer import Prepared

from ..personalization.latents import LatentPictures
from ..personalization.settings import PersonalizeConfig
from ..personalization.subjects import Subject
from .objectives import LEVELS, Conditions


class Learned(nn.Module):
    """A word's mapper as its socket calls it while the word is learned.

    Args:
        mapper: the mapper.
    """

    def __init__(self, mapper: SiteMapper):
        super().__init__()
        self.mapper, self.layers, self.hidden = mapper, mapper.layers, mapper.hidden
        self.begin(mapper, [])

    def begin(self, called: Callable[..., Word], kept: Sequence[Tensor]) -> None:
        """Prepare for a step.

        Args:
            called: the mapper as several processes call it.
            kept: units that each site keeps, for each row of the batch; [] keeps all.
        """
        self.called, self.kept = functools.partial(called), iter(kept)

    def forward(self, timesteps: Tensor, layers: Tensor, *, truncation: None = None) -> Word:
        """The directions of one row, with nested dropout of its own."""
        return self.called(timesteps, layers, kept=next(self.kept, None))


class TransformerTask:
    """The loss of a transformer that reads a word in short sentences.

    Args:
        conditions: the sentences, encoded once with the word plugged in.
        word: the word, as its socket calls it.
        subject: its pictures.
        config: how it is learned.
    """

    def __init__(self, conditions: Conditions, word: Learned, subject: Subject, config: PersonalizeConfig):
        self.conditions, self.word, self.config = conditions, word, config
        self.modules: dict[str, nn.Module] = {"mapper": word.mapper}
        vae = conditions.pipe.vae
        self.pictures = LatentPictures(vae, [subject], config.outside_weight)
        self.scale, self.shift = vae.config.scaling_factor, vae.config.get("shift_factor") or 0.0

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Clean latents, sampled anew from the cached posteriors, and the noise [b, c, h, w]."""
        latents = (self.pictures.sample(self._chosen(draws), draws) - self.shift) * self.scale
        return latents, draws.normal("noise", latents.shape[1:]).to(latents.dtype)

    def _chosen(self, draws: Draws) -> tuple[Tensor, Tensor]:
        only = torch.zeros(len(draws), dtype=torch.long, device=draws.device)
        return self.pictures.choose(draws, only, self.config.flip)

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Squared error of what the transformer predicts."""
        latents, noise = batch
        level = draws.integers("timestep", LEVELS)
        prompts = draws.integers("template", self.conditions.count)
        self.word.begin(modules["mapper"], list(self.word.mapper.draw_kept_units(draws)))
        objective = self.conditions.objective
        noisy, target = objective.noisy(self.conditions.pipe, latents, noise, level)
        predicted = self.conditions.predict(noisy, level, prompts)
        errors = (predicted.to(target.dtype) - objective.compared(target)).square()
        if self.pictures.weights is not None:
            weights = self.pictures.weights[self._chosen(draws)].expand_as(target)
            errors = errors * objective.compared(weights.contiguous())
        return {"loss": errors.mean()}
