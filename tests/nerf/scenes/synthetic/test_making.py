"""Scenes that are made are read back as they were, and show what their solids are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nerf.scenes import load_scene, make_scene, shipped_scenes
from nerf.scenes.synthetic.gallery import SCENES, solids
from nerf.scenes.synthetic.making import ELEVATION, RADIUS, spread_cameras
from nerf.scenes.synthetic.motion import moving_solids


def test_a_made_scene_is_read_back(tmp_path: Path) -> None:
    assert make_scene("blocks", tmp_path / "out", size=20, views=(5, 0, 2), seed=3) == tmp_path / "out"
    scene = load_scene(tmp_path / "out")
    assert [len(scene.splits[split]) for split in ("train", "val", "test")] == [5, 0, 2]
    train = scene.split("train")
    wanted = spread_cameras(5, size=20, generator=torch.Generator().manual_seed(3))
    assert torch.equal(train.cameras.poses, wanted.poses)
    picture = solids("blocks").picture(train.cameras, 4)
    got = train.pictures[4].float() / 255
    assert torch.allclose(got[..., 3], picture[..., 3], atol=0.5 / 255 + 1e-6)
    assert torch.allclose(got[..., :3] * got[..., 3:], picture[..., :3] * picture[..., 3:], atol=1.5 / 255)
    truth = solids("blocks").bounds()
    assert (scene.bounds[0] <= truth[0] + 0.05).all()
    assert (scene.bounds[1] >= truth[1] - 0.05).all()


def test_seeds_move_the_cameras(tmp_path: Path) -> None:
    first, second, again = (
        spread_cameras(6, size=8, generator=torch.Generator().manual_seed(seed)).poses for seed in (0, 1, 0)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)


def test_cameras_cover_the_belt() -> None:
    cameras = spread_cameras(24, size=8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(cameras.positions.norm(dim=-1), torch.full((24,), RADIUS), atol=1e-5)
    elevation = (cameras.positions[:, 2] / RADIUS).asin().rad2deg()
    assert elevation.min() >= ELEVATION[0] - 1e-3
    assert elevation.max() <= ELEVATION[1] + 1e-3
    apart = torch.cdist(cameras.positions, cameras.positions) + 99 * torch.eye(24)
    assert apart.amin(dim=1).min() > 0.8


@pytest.mark.parametrize("name", SCENES)
def test_the_gallery_fits_into_its_frame(name: str) -> None:
    scene = solids(name)
    assert len(scene.parts) >= 10
    assert scene.bounds().abs().max() <= 1
    assert len({part.color for part in scene.parts}) >= 5
    cameras = spread_cameras(6, size=100, generator=torch.Generator().manual_seed(1))
    along = torch.arange(100) + 0.5
    edges = [torch.stack([along, torch.full_like(along, at)], dim=-1) for at in (0.1, 99.9)]
    inner = torch.cartesian_prod(along[::5], along[::5])
    pixels = torch.cat([*edges, *[edge.flip(1) for edge in edges], inner])
    for index in range(6):
        rays = cameras.rays(torch.full((len(pixels),), index), pixels)
        alpha = scene.trace(rays.origins, rays.directions)[0].isfinite()
        assert not alpha[:400].any()
        assert 0.08 < alpha[400:].float().mean() < 0.6


def test_shipped_pictures_are_what_the_gallery_draws() -> None:
    for name in shipped_scenes():
        scene = load_scene(name).split("val")
        small = scene.cameras[2].scaled(4)
        exact = solids(name) if small.times is None else moving_solids(name, float(small.times[0]))
        drawn = exact.picture(small, 0)
        shipped = scene.pictures[2].float() / 255
        solid = torch.cat([shipped[..., :3] * shipped[..., 3:], shipped[..., 3:]], dim=-1)
        mean = solid.reshape(25, 4, 25, 4, 4).mean(dim=(1, 3))
        difference = torch.cat([drawn[..., :3] * drawn[..., 3:], drawn[..., 3:]], dim=-1) - mean
        assert difference.square().mean().sqrt() < 0.025, name  # thin rods fall between rays


def test_what_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="no scene 'castle'; known are beetles, blocks, lighthouse, robot, snowman, still-life"
    ):
        make_scene("castle", tmp_path / "out")
    with pytest.raises(ValueError, match="no scene 'castle' to make"):
        solids("castle")
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        make_scene("blocks", tmp_path / "out", size=0)
    with pytest.raises(ValueError, match="views must be three counts"):
        make_scene("blocks", tmp_path / "out", views=(3, 1))
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="full is not empty; choose another output"):
        make_scene("blocks", tmp_path / "full")
