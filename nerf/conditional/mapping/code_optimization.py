"""Edits without a mapper: the codes of one object are optimised for one prompt, which a mapper has to match faster."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.draws import Draws

from ..clip.scorer import Scorer
from ..model import ConditionalModel
from ..views import facing
from .objective import EditTarget, Objective, ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a prompt is optimised for."""

    steps: int = 100
    """Steps of Adam."""
    views: int = 2
    """Random views of every step."""
    learning_rate: float = 0.05
    """In standard deviations of the codes; falls to zero as a cosine does."""
    seed: int = 0
    """Of the views."""
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    """What an edit should achieve."""

    def __post_init__(self) -> None:
        for name in ("steps", "views", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class PromptOptimizer:
    """`mappers.code_mapper.EditsCodes` by gradient descent on the objective that mappers are trained with.

    Codes are whitened by their Gaussian first, so that one learning rate fits all their directions.
    """

    def __init__(self, model: ConditionalModel, scorer: Scorer, config: OptimizerConfig | None = None):
        self.model, self.config = model, config or OptimizerConfig()
        self.objective = Objective(model, scorer, self.config.objective)

    def edit(
        self,
        embedding: Float[Tensor, "b d"],
        shape_code: Float[Tensor, "b s"],
        appearance_code: Float[Tensor, "b a"],
        *,
        strength: float = 1.0,
        shape: bool = True,
        appearance: bool = True,
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]:
        """Codes moved by ``strength`` times the displacement that was found; see `EditsCodes.edit`."""
        rows = [
            self._found(embedding[i : i + 1], shape_code[i], appearance_code[i], shape, appearance)
            for i in range(len(embedding))
        ]
        found = [torch.stack(codes) for codes in zip(*rows, strict=True)]
        moved = (
            shape_code + strength * (found[0] - shape_code),
            appearance_code + strength * (found[1] - appearance_code),
        )
        return moved[0] if shape else shape_code, moved[1] if appearance else appearance_code

    def _found(
        self,
        embedding: Float[Tensor, "1 d"],
        shape_code: Float[Tensor, " s"],
        appearance_code: Float[Tensor, " a"],
        shape: bool,
        appearance: bool,
    ) -> tuple[Float[Tensor, " s"], Float[Tensor, " a"]]:
        config, priors = self.config, (self.model.shape_prior, self.model.appearance_prior)
        before = tuple(code.detach().expand(config.views, -1) for code in (shape_code, appearance_code))
        z = [
            prior.whitened(code.detach()).clone()
            for prior, code in zip(priors, (shape_code, appearance_code), strict=True)
        ]
        chosen = [value.requires_grad_() for value, wanted in zip(z, (shape, appearance), strict=True) if wanted]
        if not chosen:
            return shape_code, appearance_code
        adam = torch.optim.Adam(chosen, config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.steps)
        target = EditTarget(embedding.expand(config.views, -1))
        size = config.objective.size
        for step in range(config.steps):
            draws = Draws(config.seed, step, range(config.views))
            after = [prior.unwhitened(value).expand(config.views, -1) for prior, value in zip(priors, z, strict=True)]
            loss = self.objective(
                (before[0], before[1]), (after[0], after[1]), target, facing(self.model.family, size, draws),
                draws.uniform("background", (3,)), draws.uniform("jitter", (size * size,)),
            )["loss"]  # fmt: skip
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        codes = [prior.unwhitened(value.detach()) for prior, value in zip(priors, z, strict=True)]
        return codes[0], codes[1]
