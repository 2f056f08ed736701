"""The loss of edited codes (CLIP-NeRF, section 3.4): CLIP distance of the render to the target, and plausible codes."""

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
"""Cells along each side of an edited shape's occupancy grid, which is used for one step."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss, and the size of its renders."""

    size: int = 32
    """Side of the renders in pixels."""
    clip_weight: float = 1.0
    """λ_c of the paper: weight of 1 - cosine of render and target in CLIP's space."""
    direction_weight: float = 0.0
    """Weight of 1 - cosine of the render's change and the text's change (StyleGAN-NADA)."""
    plausibility_weight: float = 0.05
    """Weight of the mean square of the whitened edited codes. Deviation: the paper uses its discriminator here."""
    change_weight: float = 0.05
    """Weight of the mean squared change of the whitened codes, so that attributes without a mention stay."""

    def __post_init__(self) -> None:
        if self.size < 4:
            raise ValueError(f"size must be at least 4 pixels, got {self.size}")
        for name in ("clip_weight", "direction_weight", "plausibility_weight", "change_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class EditTarget:
    """Targets of some edits in CLIP's space."""

    embedding: Float[Tensor, "b d"]
    """Embeddings of the texts or pictures to edit towards, of unit length."""
    source: Float[Tensor, "b d"] | None = None
    """Embeddings of the objects' captions before the edit; needed if `direction_weight` is above 0."""


class Objective:
    """The loss of edited codes; gradients reach only the codes.

    Args:
        model: category model, frozen.
        scorer: CLIP, frozen.
        config: weights and size.
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
        """CLIP embeddings of renders: object i by camera i on background i."""
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
        """``loss`` and its terms, as means over the objects.

        Args:
            before: shape and appearance codes before the edit.
            after: shape and appearance codes after the edit.
            target: targets of the edits.
            cameras: one for each object, with pictures of the settings' size.
            background: RGB behind each object, in 0..1.
            jitter: shift of each pixel's intervals, in 0..1 of an interval.

        Raises:
            ValueError: `direction_weight` is above 0 and the targets have no source.
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
                raise ValueError("direction_weight needs embeddings of captions before the edit; set it to 0")
            with torch.no_grad():
                was = self.embed_renders(*before, cameras, background, jitter)
            values["direction"] = clip_distance(shown - was, target.embedding - target.source).mean()
            loss = loss + config.direction_weight * values["direction"]
        return {"loss": loss, **values}
