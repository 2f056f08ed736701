"""Stage 2 of CLIP-NeRF (section 3.4): the code mapper learns from CLIP scores of renders; field and CLIP are frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mappers.code_mapper import CodeMapper
from mappers.normalization import CODE_NAMES
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared

from ...cameras import Cameras
from ..clip.scorer import Scorer
from ..families.splits import split_of
from ..model import ConditionalModel
from .cameras import front_cameras
from .caption_library import build_library
from .objective import EditTarget, Objective, ObjectiveConfig

MEASURED = 16
"""Number of edits that a validation measures."""


@dataclass(frozen=True, kw_only=True)
class MapperConfig:
    """Settings of a code mapper's training."""

    hidden: int = 512
    """Units of the mapper's hidden layer."""
    rank: int = 6
    """Directions r of each code (see `CodeMapper`); with 0 every object moves alike, as in the paper."""
    prompts: int = 16384
    """Number of captions and pictures of training objects to train on."""
    pictures: float = 0.3
    """Share of pictures among them, in 0..1, so that exemplars work too."""
    library: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=2000, batch_size=256, learning_rate=3e-3, schedule="cosine", weight_decay=0.1, warmup_steps=10,
            save_every=500, keep_last=1, log_every=50,
        )
    )  # fmt: skip
    """Optimizer and schedule of the first stage, which fits captions and pictures without renders."""
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    """Loss of the second stage."""
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=600, batch_size=8, learning_rate=2e-4, schedule="cosine", weight_decay=0.0, warmup_steps=10,
            save_every=100, keep_last=1, log_every=10,
        )
    )  # fmt: skip
    """Optimizer and schedule of the second stage; `train.batch_size` counts objects, each rendered once."""

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.prompts < 1 or self.rank < 0:
            raise ValueError(
                f"hidden and prompts must be at least 1, rank at least 0; got {self.hidden}, {self.prompts} and"
                f" {self.rank}"
            )
        if not 0 <= self.pictures <= 1:
            raise ValueError(f"pictures must be a share in 0..1, got {self.pictures}")


@dataclass(frozen=True)
class Edits:
    """Objects, the target of each, and the camera of each."""

    codes: tuple[Float[Tensor, "b s"], Float[Tensor, "b a"]]
    of_shape: Bool[Tensor, " b"]
    """True: the shape is edited; False: the appearance. The paper trains the two mappers separately."""
    target: EditTarget
    cameras: Cameras
    background: Float[Tensor, "b 3"]
    jitter: Float[Tensor, "b p"]


class MapperTask:
    """Edits random training objects towards random prompts, each in its shape or in its appearance.

    Args:
        model: category model, frozen.
        scorer: CLIP, frozen.
        config: settings.

    Raises:
        ValueError: `direction_weight` is above 0 and the instances have no captions (`ConditionalModel.sampled`).
    """

    def __init__(self, model: ConditionalModel, scorer: Scorer, config: MapperConfig):
        if model.sampled and config.objective.direction_weight:
            raise ValueError("direction_weight needs captions of the model's instances, which are samples; set it to 0")
        self.model, self.scorer, self.config = model, scorer, config
        self.objective = Objective(model, scorer, config.objective)
        self.library = build_library(model, scorer, config.prompts, pictures=config.pictures, seed=config.train.seed)
        sizes = model.shape_codes.shape[1], model.appearance_codes.shape[1]
        self.mapper = CodeMapper(
            scorer.width, *sizes, hidden=config.hidden, rank=config.rank, field_space=model.space,
            clip_space=scorer.space, clip=scorer.name,
        )  # fmt: skip
        for name in CODE_NAMES:
            self.mapper.set_statistics(name, model.prior(name).mean, model.prior(name).factor)
        self.modules: Mapping[str, nn.Module] = {"mapper": self.mapper}
        self.split = split_of(model.family, len(model.shape_codes), len(model.appearance_codes))

    def batch(self, draws: Draws) -> Edits:
        model, size = self.model, self.config.objective.size
        shape = draws.integers("shape", len(model.shape_codes)).cpu()
        palette = draws.integers("palette", len(model.appearance_codes)).cpu()
        wanted = draws.integers("prompt", len(self.library)).cpu()
        source = None
        if self.config.objective.direction_weight:
            seeds = draws.integers("caption", 2**62).tolist()
            captions = [
                model.family.caption(self.split.shapes[s], self.split.palettes[p], torch.Generator().manual_seed(seed))
                for s, p, seed in zip(shape.tolist(), palette.tolist(), seeds, strict=True)
            ]
            source = self.scorer.embed_texts(captions)
        return Edits(
            (model.shape_codes[shape], model.appearance_codes[palette]),
            draws.integers("kind", 2).cpu() == 0,
            EditTarget(self.library.embedding[wanted], source),
            front_cameras(model.family, size, draws),
            draws.uniform("background", (3,)).cpu(),
            draws.uniform("jitter", (size * size,)).cpu(),
        )

    def loss(self, modules: Prepared, batch: Edits, draws: Draws) -> dict[str, Tensor]:
        shape, appearance = batch.codes
        moved = self._moved(modules, batch, draws.device)
        # Both are always computed: with several processes each must have gradients of all parameters.
        which = batch.of_shape[:, None]
        after = torch.where(which, moved[0], shape), torch.where(which, appearance, moved[1])
        return self.objective(batch.codes, after, batch.target, batch.cameras, batch.background, batch.jitter)

    def _moved(self, modules: Prepared, batch: Edits, device: torch.device) -> list[Tensor]:
        """Both codes after the mapper, which may run on an accelerator; field and CLIP stay on the CPU."""
        values = (batch.target.embedding, *batch.codes)
        return [code.cpu() for code in modules["mapper"](*(value.to(device) for value in values))]

    @torch.no_grad()
    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        """Mean decrease of the CLIP distance by fixed edits of both codes, and mean Mahalanobis distance after them."""
        draws = Draws(1, 0, range(MEASURED))
        batch = self.batch(draws)
        after = self._moved(modules, batch, next(self.mapper.parameters()).device)
        scored = [
            float(self.objective(batch.codes, codes, batch.target, batch.cameras, batch.background)["clip"])
            for codes in (batch.codes, (after[0], after[1]))
        ]
        usual = self.model.mahalanobis(after[0], "shape").mean(), self.model.mahalanobis(after[1], "appearance").mean()
        return {"clip_gain": scored[0] - scored[1], "shape_sd": float(usual[0]), "appearance_sd": float(usual[1])}
