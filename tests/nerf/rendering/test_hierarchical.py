"""Coarse and fine sampling against closed forms, and as a way to train, save and distill."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mappers.training.draws import Draws
from mappers.yaml_settings import load_settings
from nerf.cameras import Rays
from nerf.distillation.training import distill
from nerf.fields import build_field
from nerf.fields.mlp import MLPConfig
from nerf.rendering.hierarchical import CoarseField
from nerf.rendering.sampling import Marching, invert_cdf, resample_pdf, samples_between, stratified
from nerf.runs import Run, load_run
from nerf.scenes import Scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import RadianceTask, train

TINY = MLPConfig(layers=2, width=32, octaves=4)
EDGES = torch.tensor([[0.0, 1.0, 2.0, 4.0, 4.5]])
WEIGHTS = torch.tensor([[1.0, 0.0, 3.0, 4.0]])


def test_random_draws_have_the_histogram_of_the_weights() -> None:
    u = torch.rand(1, 40_000, generator=torch.Generator().manual_seed(0))
    drawn = invert_cdf(EDGES, WEIGHTS, u)[0]
    counts = torch.stack([((drawn >= a) & (drawn < b)).float().mean() for a, b in EDGES[0].unfold(0, 2, 1).tolist()])
    torch.testing.assert_close(counts, WEIGHTS[0] / WEIGHTS.sum(), atol=0.01, rtol=0)
    inside = drawn[(drawn >= 2) & (drawn < 4)]  # uniform within an interval
    assert inside.mean().item() == pytest.approx(3.0, abs=0.02)
    assert inside.var().item() == pytest.approx(4 / 12, rel=0.03)


def test_quantiles_invert_the_distribution() -> None:
    """The distribution function is 1/8 at 1 and at 2, 1/2 at 4 and 1 at 4.5, linear between."""
    u = torch.tensor([[0.0, 1 / 16, 5 / 16, 3 / 4, 1.0]])
    expected = torch.tensor([[0.0, 0.5, 3.0, 4.25, 4.5]])
    torch.testing.assert_close(invert_cdf(EDGES, WEIGHTS, u), expected, atol=1e-3, rtol=0)


def test_refined_intervals_are_the_sorted_union_and_still_tile_the_ray() -> None:
    even = stratified(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]), 4)
    weights = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], requires_grad=True)
    both = resample_pdf(even, weights, 5)
    start, end = both.start.view(2, 9), both.end.view(2, 9)
    assert torch.equal(start[:, 1:], end[:, :-1])
    torch.testing.assert_close(start[:, 0], torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(end[:, -1], torch.tensor([3.0, 6.0]))
    drawn = [1.5 + 0.5 * (i + 0.5) / 5 for i in range(5)]  # all in the second interval of the first ray
    expected = torch.tensor(sorted([1.0, 1.5, 2.0, 2.5, *drawn]))
    torch.testing.assert_close(start[0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(start[1], torch.tensor(sorted([2.0, 3, 4, 5, 2.4, 3.2, 4.0, 4.8, 5.6])))  # evenly
    assert not both.start.requires_grad


def test_no_rays_can_be_refined() -> None:
    assert len(resample_pdf(samples_between(torch.zeros(0, 5)), torch.zeros(0), 3)) == 0


def nerf(settings: RadianceConfig, **changes: object) -> RadianceConfig:
    learning = dataclasses.replace(settings.train, steps=40, learning_rate=5e-3, **changes)
    return dataclasses.replace(settings, train=learning, occupancy=0, intervals=12, fine=16)


def test_each_network_learns_from_its_own_error_alone(scene: Scene, settings: RadianceConfig) -> None:
    """What the fine field sees does not move the coarse one: with a blind fine field it gets the same gradient."""
    gradients = []
    for seed in (0, 7):
        fine, coarse = (build_field("mlp", scene.bounds, TINY, seed=s) for s in (seed, 1))
        task = RadianceTask(scene, fine, nerf(settings), CoarseField(coarse, 16))
        assert set(task.modules) == {"field", "coarse"}
        draws = Draws(0, 3, range(256))
        task.loss(task.modules, task.batch(draws), draws)["loss"].backward()
        gradients.append([p.grad for p in coarse.parameters()])
        assert all(p.grad is not None and p.grad.any() for p in fine.parameters())
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_samples_gather_where_the_coarse_field_is_dense() -> None:
    bounds = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    field = build_field("mlp", bounds, TINY)

    def wall(points: torch.Tensor) -> torch.Tensor:
        dense = (points[:, 2:].abs() < 0.1).float() * 25 - 12
        return torch.cat([dense, torch.zeros(len(points), 15)], -1)

    field.features = wall  # type: ignore[method-assign]
    origins = torch.tensor([[0.0, 0.0, 3.0], [0.3, 0.1, 3.0], [5.0, 5.0, 3.0]])
    down = torch.tensor([0.0, 0.0, -1.0]).expand(3, 3)
    samples = CoarseField(field, 32).march(Rays(origins, down, down), Marching.through(bounds, 20, near=0, far=9))
    assert samples.count[2] == 0  # misses the box
    depth = 3 - samples.middle[samples.ray == 0]
    assert 32 < len(depth) <= 20 + 32
    # Its first interval, a tenth of the box long, hides all behind it.
    assert int(((depth > -0.05) & (depth < 0.15)).sum()) >= 32


def test_a_run_with_a_coarse_network_draws_resumes_and_teaches(
    scene: Scene, settings: RadianceConfig, tmp_path: Path
) -> None:
    config = nerf(settings)
    whole = train(scene, "mlp", size=TINY, config=config)
    train(scene, "mlp", size=TINY, config=config, output_dir=tmp_path / "a", max_minutes=1e-9)
    run = train(scene, "mlp", size=TINY, config=config, output_dir=tmp_path / "a", resume=True)
    camera = scene.split("test").cameras[0]
    assert torch.equal(run.draw(camera).color, whole.draw(camera).color)
    loaded = load_run(tmp_path / "a")
    assert isinstance(loaded.sampler, CoarseField)
    assert loaded.sampler.fine == 16
    assert torch.equal(loaded.draw(camera).color, run.draw(camera).color)
    assert run.report.losses[-1][1] < 0.6 * run.report.losses[0][1]
    assert_taught(loaded, scene, tmp_path / "b")
    (tmp_path / "a" / "coarse.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="coarse.safetensors"):
        load_run(tmp_path / "a")


def assert_taught(teacher: Run, scene: Scene, folder: Path) -> None:
    before = [value.clone() for value in teacher.sampler.state_dict().values()]
    config = DistillConfig()
    quick = dataclasses.replace(config.train, steps=3, batch_size=128, cpu=True)
    student = distill(teacher, "mlp", size=TINY, config=dataclasses.replace(config, train=quick), output_dir=folder)
    assert student.sampler is teacher.sampler
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.sampler.state_dict().values(), strict=True))
    camera = scene.split("test").cameras[0]
    assert torch.equal(load_run(folder).draw(camera).color, student.draw(camera).color)


def test_settings_of_the_paper() -> None:
    config = load_settings(RadianceConfig, "nerf-coarse-fine", task="train")
    assert (config.intervals, config.fine, config.occupancy, config.train.batch_size) == (64, 128, 0, 4096)
    with pytest.raises(ValueError, match="set occupancy to 0, got 48"):
        RadianceConfig(fine=128)
    with pytest.raises(ValueError, match="fine must be at least 1 sample"):
        CoarseField(build_field("mlp", torch.tensor([[0.0, 0, 0], [1, 1, 1]]), TINY), 0)
