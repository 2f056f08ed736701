"""Edits without a mapper: Adam on the codes of each object for each prompt; slow, and a reference for the mappers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.code_mapper import CodeEditor
from mappers.normalization import CodeName
from mappers.training.draws import Draws

from ..clip.scorer import Scorer
from ..model import ConditionalModel
from .cameras import front_cameras
from .objective import EditTarget, Objective, ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of the optimisation for one prompt."""

    steps: int = 100
    """Optimizer steps for each object."""
    views: int = 2
    """Random views that each step renders."""
    learning_rate: float = 0.05
    """Learning rate of Adam for the whitened codes; it falls to zero along a cosine."""
    seed: int = 0
    """Seed of the views."""
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    """Loss of the edited codes."""

    def __post_init__(self) -> None:
        for name in ("steps", "views", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class PromptOptimizer(CodeEditor):
    """Finds displacements by gradient descent on the objective that mappers are trained with.

    Args:
        model: category model; its field stays frozen.
        scorer: CLIP of the prompts, frozen.
        config: settings; the defaults if not given.
    """

    def __init__(self, model: ConditionalModel, scorer: Scorer, config: OptimizerConfig | None = None):
        self.model, self.config = model, config or OptimizerConfig()
        self.objective = Objective(model, scorer, self.config.objective)

    def displacements(
        self,
        embedding: Float[Tensor, "b d"],
        codes: Mapping[CodeName, Float[Tensor, "b _c"]],
        changed: Sequence[CodeName],
    ) -> dict[CodeName, Float[Tensor, "b _c"]]:
        if not changed:
            return {}
        rows = [
            self._optimized(embedding[i : i + 1], {name: code[i] for name, code in codes.items()}, changed)
            for i in range(len(embedding))
        ]
        return {name: torch.stack([row[name] for row in rows]) - codes[name] for name in changed}

    def _optimized(
        self,
        embedding: Float[Tensor, "1 d"],
        codes: Mapping[CodeName, Float[Tensor, " _c"]],
        changed: Sequence[CodeName],
    ) -> dict[CodeName, Float[Tensor, " _c"]]:
        """Both codes of one object after the optimisation of those that ``changed`` names."""
        config, priors = self.config, {name: self.model.prior(name) for name in codes}
        before = [code.detach().expand(config.views, -1) for code in codes.values()]
        # Whitened codes, so that one learning rate suits all their components.
        z: dict[CodeName, Tensor] = {name: priors[name].whiten(code.detach()).clone() for name, code in codes.items()}
        adam = torch.optim.Adam([z[name].requires_grad_() for name in changed], config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.steps)
        target = EditTarget(embedding.expand(config.views, -1))
        size = config.objective.size
        for step in range(config.steps):
            draws = Draws(config.seed, step, range(config.views))
            after = [priors[name].unwhiten(value).expand(config.views, -1) for name, value in z.items()]
            loss = self.objective(
                (before[0], before[1]), (after[0], after[1]), target, front_cameras(self.model.family, size, draws),
                draws.uniform("background", (3,)), draws.uniform("jitter", (size * size,)),
            )["loss"]  # fmt: skip
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        return {name: priors[name].unwhiten(value.detach()) for name, value in z.items()}
