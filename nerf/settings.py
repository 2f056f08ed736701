"""Typed settings of training and distillation, free of torch so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from mappers.train_config import TrainConfig
from mappers.yaml_settings import load_settings

MOVING = {"cam": "cam-time"}
"""Families with another one for scenes that move."""


@dataclass(frozen=True, kw_only=True)
class RadianceConfig:
    """How `nerf.train` fits a field to pictures."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=2000, batch_size=1024, learning_rate=1e-2, schedule="cosine", weight_decay=0.0, eps=1e-15,
            betas=(0.9, 0.99), save_every=500, validate_every=500, log_every=50,
        )
    )  # fmt: skip
    """The shared trainer's settings; `batch_size` counts rays."""
    intervals: int = 192
    """Steps of a ray across the box's diagonal."""
    occupancy: int = 48
    """Cells of the occupancy grid along an axis; 0 asks the field everywhere."""
    occupancy_threshold: float = 5.0
    """Density per unit length below which a cell counts as empty (or the mean density, if that is less)."""
    occupancy_every: int = 16
    """Steps between updates of the occupancy grid."""
    fine: int = 0
    """Samples of a ray that a coarse network draws on top of its own `intervals`; 0 relies on the occupancy grid."""
    stages: int = 1
    """Resolutions of a grid family, growing geometrically to its final one; 1 starts with the final one."""
    coarsest: float = 0.5
    """Nodes along an axis in the first stage, relative to the final ones."""
    growth_share: float = 0.5
    """Share of the steps after which the final resolution is reached."""
    shrink: bool = False
    """Low-rank tensors: shrink the box to what is occupied after the first stage."""
    prune: float | None = None
    """Voxel grids: density below which nodes are dropped at the end of every stage but the last."""
    l1: float = 0.0
    """Weight of the L1 penalty on density factors (low-rank tensors)."""
    total_variation: float = 0.0
    """Weight of the total variation of grids."""
    distortion: float = 0.0
    """Weight of the distortion loss, which gathers a ray's weight in one place."""
    opacity: float = 0.0
    """Weight of the opacity loss, which makes rays opaque or clear."""
    bits: int | None = None
    """Bits of a large tensor's weights, 2..8, which then learn rounded; none keeps 32."""

    def __post_init__(self) -> None:
        if self.bits is not None and not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be in 2..8 or none, got {self.bits}")
        for name in ("intervals", "occupancy_every", "stages"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("coarsest", "growth_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        for name in ("l1", "total_variation", "distortion", "opacity", "occupancy", "occupancy_threshold", "fine"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.fine and self.occupancy:
            raise ValueError(
                f"fine samples take the place of the occupancy grid; set occupancy to 0, not {self.occupancy}"
            )
        if self.shrink and not (self.occupancy and self.stages > 1):
            raise ValueError(
                "shrink needs an occupancy grid and at least 2 stages, got"
                f" occupancy {self.occupancy} and stages {self.stages}"
            )


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How `nerf.fit_media` fits a field to a picture or a video."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=2000, batch_size=4096, learning_rate=2e-3, schedule="cosine", weight_decay=0.0, save_every=500,
            validate_every=500, log_every=50,
        )
    )  # fmt: skip
    """The shared trainer's settings; `batch_size` counts pixels of a picture, frames of a video."""
    grid_rate: float = 10.0
    """Learning rate of modulation grids relative to that of the other weights."""
    every_second: bool = False
    """Pictures: learn from every second pixel along both axes and be measured on those left out too."""
    bits: int | None = None
    """Bits of a large tensor's weights, 2..8, which then learn rounded; none keeps 32."""

    def __post_init__(self) -> None:
        if not self.grid_rate > 0:
            raise ValueError(f"grid_rate must be positive, got {self.grid_rate}")
        if self.bits is not None and not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be in 2..8 or none, got {self.bits}")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """How `nerf.distillation.training.distill` turns one field into another (arXiv 2211.15977, section 3)."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=1000, batch_size=1024, learning_rate=1e-2, schedule="cosine", weight_decay=0.0, eps=1e-15,
            betas=(0.9, 0.99), save_every=500, validate_every=500, log_every=50,
        )
    )  # fmt: skip
    """The shared trainer's settings; `batch_size` counts rays."""
    inherit: Literal["head", "none"] = "head"
    """Start with the teacher's colour head where both have a learned one of the same size."""
    closed_form: bool = True
    """Start grid families from a factorization of the teacher."""
    features_until: float = 0.0
    """Share of the steps that align features alone; 0 leaves this stage out."""
    points_until: float = 0.25
    """Share of the steps after which pixels are compared too."""
    feature_weight: float = 0.01
    """Weight of the features' squared error."""
    density_weight: float = 0.01
    """Weight of the log-densities' squared error at points."""
    color_weight: float = 0.1
    """Weight of the colours' squared error at points."""
    lowest: float = -2.0
    """Log-densities are cut to this before they are compared: how empty does not matter."""
    highest: float = 7.0
    """Log-densities are cut to this before they are compared: how solid does not matter."""
    cameras: int = 8
    """Random cameras of a step."""
    hard_cameras: bool = False
    """Draw a tenth of the cameras near those that were rendered worst (arXiv 2304.04012)."""
    hard_rays: bool = False
    """Draw a tenth of the rays again from those that were rendered worst."""
    hard_points: bool = False
    """Compare densities and colours only at the points that matter most on a ray."""
    l1: float = 0.0
    """Weight of the L1 penalty on density factors (low-rank tensors)."""
    total_variation: float = 0.0
    """Weight of the total variation of grids."""

    def __post_init__(self) -> None:
        if not 0 <= self.features_until <= self.points_until <= 1:
            raise ValueError(
                "features_until and points_until must be shares in 0..1, the first no greater than the second, got"
                f" {self.features_until} and {self.points_until}"
            )
        for name in ("feature_weight", "density_weight", "color_weight", "l1", "total_variation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.lowest < self.highest:
            raise ValueError(f"lowest must be below highest, got {self.lowest} and {self.highest}")
        if self.cameras < 1:
            raise ValueError(f"cameras must be at least 1, got {self.cameras}")


def radiance_settings(field: str, *, moving: bool, source: str | Path | None = None) -> RadianceConfig:
    """Settings of `nerf.train` and of its command.

    Args:
        field: family of the field.
        moving: whether the scene moves; a family may have another one for these, with settings of its own.
        source: name of shipped settings, or a YAML file, to take in place of the family's.

    Raises:
        FileNotFoundError, ValueError: there are no such settings, or they cannot be used.
    """
    family = MOVING.get(field, field) if moving else field
    return load_settings(RadianceConfig, source or family, task="train")


def fit_settings(*, video: bool, source: str | Path | None = None) -> FitConfig:
    """Settings of `nerf.fit_media` and of its command: those for videos or for pictures, or those of ``source``.

    Raises:
        FileNotFoundError, ValueError: there are no such settings, or they cannot be used.
    """
    return load_settings(FitConfig, source or ("video" if video else "picture"), task="fit")


def distill_settings(field: str, *, source: str | Path | None = None) -> DistillConfig:
    """Settings of `nerf.distill` and of its command: those of the student's family, or those of ``source``.

    Raises:
        FileNotFoundError, ValueError: there are no such settings, or they cannot be used.
    """
    return load_settings(DistillConfig, source or field, task="distill")


def scene_moves(scene: str | Path) -> bool:
    """Whether the frames of a scene's folder, or of a shipped scene, have times. Opens no picture and needs no torch.

    False for what cannot be read: `nerf.load_scene` says why.
    """
    folder = Path(scene).expanduser()
    if not folder.is_dir():
        folder = Path(str(files("nerf"))) / "scenes" / "data" / str(scene)
    for name in ("transforms_train.json", "transforms.json"):
        try:
            frames = json.loads((folder / name).read_text(encoding="utf-8"))["frames"]
            return any("time" in frame for frame in frames)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return False
