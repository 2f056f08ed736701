"""Settings of training, fitting and distillation, and which of them a command or function takes.

Free of torch, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mappers.hub import PACKAGES
from mappers.training.train_config import TrainConfig
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
    """Settings of the training loop; the batch size counts rays, or views in the training of splats."""
    intervals: int = 192
    """Number of samples of a ray along the diagonal of the scene's box."""
    occupancy: int = 48
    """Cells of the occupancy grid along each axis; 0: no grid, the field is evaluated everywhere."""
    occupancy_threshold: float = 5.0
    """Density per unit length below which a cell counts as empty; the mean density, if it is lower."""
    occupancy_every: int = 16
    """Steps between updates of the occupancy grid."""
    fine: int = 0
    """Further samples of a ray, drawn from the weights of a coarse field (NeRF); needs occupancy 0. 0: none."""
    stages: int = 1
    """Grids: number of resolutions, growing geometrically to the final one; 1: the final one only."""
    coarsest: float = 0.5
    """Grids: nodes along each axis in the first stage, as a share of the final number."""
    growth_share: float = 0.5
    """Grids: share of the steps after which the final resolution is reached."""
    shrink: bool = False
    """Low-rank tensors: shrink the box to its occupied part after the first stage."""
    prune: float | None = None
    """Voxel grids: drop nodes of lower density at the end of each stage except the last; none: drop nothing."""
    l1: float = 0.0
    """Weight of the L1 penalty on density factors (low-rank tensors)."""
    total_variation: float = 0.0
    """Weight of the total variation penalty on grids."""
    distortion: float = 0.0
    """Weight of the distortion loss, which concentrates the render weights of a ray."""
    opacity: float = 0.0
    """Weight of the opacity loss, which makes each ray either opaque or transparent."""
    bits: int | None = None
    """Bits per weight of large tensors, 2..8, with quantization-aware training; none: 32, without it."""
    ssim: float = 0.2
    """Splats: weight of one minus the structural similarity; the rest of the loss is the absolute error."""
    relocate_every: int = 50
    """Splats: steps between moves of transparent Gaussians onto others; 0: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.ssim <= 1:
            raise ValueError(f"ssim must be in 0..1, got {self.ssim}")
        if self.relocate_every < 0:
            raise ValueError(f"relocate_every must not be negative, got {self.relocate_every}")
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
            raise ValueError(f"fine samples replace the occupancy grid: set occupancy to 0, got {self.occupancy}")
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
    """Settings of the training loop; the batch size counts pixels of a picture, or frames of a video."""
    grid_rate: float = 10.0
    """Learning rate of the modulation grids, as a multiple of the learning rate of the other weights."""
    every_second: bool = False
    """Pictures: train on every second pixel along both axes, and also measure the pixels left out."""
    bits: int | None = None
    """Bits per weight of large tensors, 2..8, with quantization-aware training; none: 32, without it."""

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
    """Settings of the training loop; the batch size counts rays."""
    inherit: Literal["head", "none"] = "head"
    """head: start with the teacher's colour head, if both have a learned one of the same size. none: do not."""
    closed_form: bool = True
    """Start grid families from a factorization of the teacher's values."""
    features_until: float = 0.0
    """Share of the steps that only align features; 0: no such stage."""
    points_until: float = 0.25
    """Share of the steps after which pixels are compared too."""
    feature_weight: float = 0.01
    """Weight of the squared error of features."""
    density_weight: float = 0.01
    """Weight of the squared error of log-densities at points."""
    color_weight: float = 0.1
    """Weight of the squared error of colours at points."""
    lowest: float = -2.0
    """Lower log-densities are raised to this one for comparison: both are empty space."""
    highest: float = 7.0
    """Higher log-densities are lowered to this one for comparison: both are solid."""
    cameras: int = 8
    """Number of random cameras of each step."""
    views: int = 64
    """Splats, as teacher or student: number of the teacher's views that are learned."""
    hard_cameras: bool = False
    """Draw a tenth of the cameras near those with the largest error so far (arXiv 2304.04012)."""
    hard_rays: bool = False
    """Draw a tenth of the rays from those with the largest error so far."""
    hard_points: bool = False
    """Compare densities and colours only at the points of a ray with the largest render weights."""
    l1: float = 0.0
    """Weight of the L1 penalty on density factors (low-rank tensors)."""
    total_variation: float = 0.0
    """Weight of the total variation penalty on grids."""

    def __post_init__(self) -> None:
        if not 0 <= self.features_until <= self.points_until <= 1:
            raise ValueError(
                "features_until and points_until must be shares in 0..1, and the first at most the second, got"
                f" {self.features_until} and {self.points_until}"
            )
        for name in ("feature_weight", "density_weight", "color_weight", "l1", "total_variation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.lowest < self.highest:
            raise ValueError(f"lowest must be below highest, got {self.lowest} and {self.highest}")
        for name in ("cameras", "views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def radiance_settings(field: str, *, moving: bool, source: str | Path | None = None) -> RadianceConfig:
    """Settings of `nerf.train` and of its command.

    Args:
        field: family of the field.
        moving: whether the scene moves; a family may have another one for these, with settings of its own.
        source: name of shipped settings, or a YAML file, to take instead of the family's.

    Raises:
        FileNotFoundError, ValueError: there are no such settings, or they cannot be used.
    """
    family = MOVING.get(field, field) if moving else field
    return load_settings(RadianceConfig, source or _known(family), task="train")


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
    return load_settings(DistillConfig, source or _known(field), task="distill")


def _known(family: str) -> str:
    """The name of a family; each has settings for distillation.

    Raises:
        ValueError: there is no such family; the message lists all.
    """
    known = sorted(path.stem for path in (PACKAGES / "configs" / "distill").glob("*.yaml"))
    if family not in known:
        raise ValueError(f"unknown field {family!r}; known are {', '.join(known)}")
    return family


def scene_moves(scene: str | Path) -> bool:
    """Whether the frames of a scene's folder, or of a shipped scene, have times. Opens no picture and needs no torch.

    False for what cannot be read: `nerf.load_scene` says why.
    """
    folder = Path(scene).expanduser()
    if not folder.is_dir():
        folder = Path(__file__).parent / "scenes" / "data" / str(scene)
    for name in ("transforms_train.json", "transforms.json"):
        try:
            frames = json.loads((folder / name).read_text(encoding="utf-8-sig"))["frames"]
            return any("time" in frame for frame in frames)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return False
