"""A tiny scene and a field trained on it, made once for all tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mappers.training.train_config import TrainConfig
from nerf.fields.hash_grid import HashConfig
from nerf.runs import Run
from nerf.scenes import Scene, load_scene, make_scene
from nerf.settings import RadianceConfig
from nerf.training import train

TINY = HashConfig(levels=3, coarsest=8, finest=32, table_log2=12)
SETTINGS = RadianceConfig(
    train=TrainConfig(
        steps=60, batch_size=256, learning_rate=2e-2, weight_decay=0.0, eps=1e-15, betas=(0.9, 0.99), log_every=10,
        save_every=20, cpu=True,
    ),
    intervals=48,
    occupancy=16,
)  # fmt: skip


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six views of the robot, 20 pixels wide, and two test views."""
    return make_scene("robot", tmp_path_factory.mktemp("scene") / "robot", size=20, views=(6, 0, 2))


@pytest.fixture(scope="session")
def scene(scene_folder: Path) -> Scene:
    return load_scene(scene_folder)


@pytest.fixture(scope="session")
def settings() -> RadianceConfig:
    return SETTINGS


@pytest.fixture(scope="session")
def trained(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A small hash grid after 60 steps, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    config = dataclasses.replace(SETTINGS, train=dataclasses.replace(SETTINGS.train, validate_every=60))
    return train(scene, "hash", size=TINY, config=config, output_dir=folder), folder
