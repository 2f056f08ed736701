"""What an edit should achieve (CLIP-NeRF, section 3.3): a render that CLIP finds near the target, and usual codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.normalization import CODE_NAMES

from ...cameras import Cameras
from ..clip.scorer import Scorer, clip_distance
from ..model import ConditionalModel

GRID = 20
"""Cells along each side of the grids of edited shapes, which last for one step."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """How edits are judged while they are learned."""

    size: int = 32
    """Side of the renders, pixels."""
    clip_weight: float = 1.0
    """λ_c: weight of 1 - cosine between render and target."""
    direction_weight: float = 0.0
    """Weight of 1 - cosine between the change of the render and that of the text (StyleGAN-NADA)."""
    plausibility_weight: float = 0.05
    """Weight of the edited codes' mean squared deviation from their Gaussian; the paper has its discriminator there."""
    change_weight: float = 0.05
    """Weight of the codes' mean squared change, in standard deviations: what a target does not name should stay."""

    def __post_init__(self) -> None:
        if self.size < 4:
            raise ValueError(f"size must be at least 4 pixels, got {self.size}")
        for name in ("clip_weight", "direction_weight", "plausibility_weight", "change_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class EditTarget:
    """What some objects should become, in CLIP's space."""

    embedding: Float[Tensor, "b d"]
    source: Float[Tensor, "b d"] | None = None
    """What the objects' captions say before the edit; needed for the direction only."""


class Objective:
    """The loss of edited codes; gradients reach the codes and nothing else.

    Args:
        model: its field stays frozen.
        scorer: frozen too.
        config: weights.
    """

    def __init__(self, model: ConditionalModel, scorer: Scorer, config: ObjectiveConfig):
        self.model, self.scorer, self.config = model, scorer, config

    def embed_renders(
        self,
        shape_codes: Float[Tensor, "b s"],
        appearance_codes: Float[Tensor, "b a"],
        cameras: Cameras,
        background: Float[Tensor, "b 3"],
        jitter: Float[Tensor, "b p"] | None = None,
    ) -> Float[Tensor, "b d"]:
        """CLIP's embeddings of object i seen by camera i before ground i."""
        pictures = []
        for i in range(len(shape_codes)):
            rays = cameras.picture_rays(i)
            ground = background[i].expand(len(rays), 3)
            grid = self.model.grid(shape_codes[i], GRID)
            shift = None if jitter is None else jitter[i]
            out = self.model.trace(shape_codes[i], appearance_codes[i], rays, ground, shift, grid)
            pictures.append(out.color.view(cameras.height, cameras.width, 3))
        return self.scorer.embed_images(torch.stack(pictures))

    def __call__(
        self,
        before: tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]],
        after: tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]],
        target: EditTarget,
        cameras: Cameras,
        background: Float[Tensor, "b 3"],
        jitter: Float[Tensor, "b p"] | None = None,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts, means over objects.

        Args:
            before: shape and appearance codes of the objects as they were.
            after: as they are now.
            target: what they should be.
            cameras: one for each object, with pictures of the settings' size.
            background: RGB behind each.
            jitter: shift of every pixel's intervals.
        """
        config = self.config
        shown = self.embed_renders(*after, cameras, background, jitter)
        distance = clip_distance(shown, target.embedding).mean()
        white = [
            [self.model.prior(name).whiten(code) for name, code in zip(CODE_NAMES, codes, strict=True)]
            for codes in (before, after)
        ]
        usual = torch.stack([code.square().mean() for code in white[1]]).mean()
        change = torch.stack([(b - a).square().mean() for a, b in zip(*white, strict=True)]).mean()
        values = {"clip": distance, "plausibility": usual, "change": change}
        loss = config.clip_weight * distance + config.plausibility_weight * usual + config.change_weight * change
        if config.direction_weight:
            if target.source is None:
                raise ValueError("direction_weight needs what the objects' captions say before; set it to 0 here")
            with torch.no_grad():
                was = self.embed_renders(*before, cameras, background, jitter)
            values["direction"] = clip_distance(shown - was, target.embedding - target.source).mean()
            loss = loss + config.direction_weight * values["direction"]
        return {"loss": loss, **values}
