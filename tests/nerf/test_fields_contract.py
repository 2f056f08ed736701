"""What every family with a density promises; a new one in `FIELDS` is tested here without another line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from nerf.fields import FIELDS, FieldError, VolumeField, build_field, load_field, save_field

VOLUMES = sorted(name for name, family in FIELDS.items() if issubclass(family.field, VolumeField))
BOUNDS = torch.tensor([[-1.0, -2.0, -0.5], [1.0, 1.0, 1.5]])


@pytest.fixture(params=VOLUMES)
def field(request: pytest.FixtureRequest) -> VolumeField:
    return build_field(request.param, BOUNDS).volume()


def draw(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = BOUNDS[0] + torch.rand(count, 3, generator=generator) * (BOUNDS[1] - BOUNDS[0])
    return points, F.normalize(torch.randn(count, 3, generator=generator), dim=-1)


def test_shapes_and_ranges(field: VolumeField) -> None:
    points, views = draw(257)
    density, color = field(points, views)
    assert density.shape == (257,)
    assert color.shape == (257, 3)
    assert (density >= 0).all()
    assert ((color >= 0) & (color <= 1)).all()
    assert field.features(points).shape == (257, field.feature_size)


def test_every_parameter_gets_a_gradient(field: VolumeField) -> None:
    points, views = draw(4096)
    density, color = field(points, views)
    (density.sum() + color[:, 0].sum() + (color[:, 1] * color[:, 2]).sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_a_batch_is_its_points_one_by_one(field: VolumeField) -> None:
    points, views = draw(8)
    density, color = field(points, views)
    for i in range(8):
        alone = field(points[i : i + 1], views[i : i + 1])
        torch.testing.assert_close(alone[0][0], density[i], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone[1][0], color[i], atol=1e-5, rtol=1e-4)


def test_empty_batch_has_a_gradient_of_zero(field: VolumeField) -> None:
    density, color = field(torch.zeros(0, 3), torch.zeros(0, 3))
    assert density.shape == (0,)
    (density.sum() + color.sum()).backward()
    assert all(p.grad is None or not p.grad.any() for p in field.parameters())


def test_nothing_is_outside_the_bounds(field: VolumeField) -> None:
    points = torch.tensor([[1.001, 0, 0], [0, -2.1, 0], [0, 0, 9e9], [0.0, 0, 0]])
    density, _ = field(points, F.normalize(torch.ones(4, 3), dim=-1))
    assert (density[:3] < 1e-5).all()
    assert density[3] > 1e-5


def test_saved_and_loaded_is_bit_equal(field: VolumeField, tmp_path: Path) -> None:
    save_field(field, tmp_path / "field.safetensors")
    loaded = load_field(tmp_path / "field.safetensors")
    points, views = draw(64)
    for a, b in zip(field(points, views), loaded(points, views), strict=True):
        assert torch.equal(a, b)
    assert type(loaded) is type(field)
    assert loaded.config == field.config


def test_half_precision_stays_close_and_finite(field: VolumeField) -> None:
    points, views = draw(512)
    density, color = field(points, views)
    with torch.autocast("cpu", torch.bfloat16):
        low_density, low_color = field(points, views)
        low_density.mean().backward()
    assert low_density.isfinite().all()
    torch.testing.assert_close(low_density, density, atol=0.05, rtol=0.1)
    torch.testing.assert_close(low_color.float(), color, atol=0.05, rtol=0)


def test_same_seed_same_weights_and_the_global_generator_is_left_alone(field: VolumeField) -> None:
    state = torch.get_rng_state()
    again = build_field(field.name, BOUNDS)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), again.parameters(), strict=True))
    other = build_field(field.name, BOUNDS, seed=1)
    assert not all(torch.equal(a, b) for a, b in zip(field.parameters(), other.parameters(), strict=True))


def test_color_depends_on_the_view_alone_at_a_point(field: VolumeField) -> None:
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    points, views = draw(32)
    density, color = field(points, views)
    other_density, other_color = field(points, -views)
    assert torch.equal(density, other_density)
    assert not torch.allclose(color, other_color, atol=1e-3)


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(FieldError, match="unknown field 'nope'; known are hash, mlp"):
        build_field("nope", BOUNDS)
    with pytest.raises(FieldError, match="hash has no size 'huge'; known are small, paper"):
        build_field("hash", BOUNDS, "huge")
    with pytest.raises(ValueError, match="bounds must be"):
        build_field("hash", BOUNDS.flip(0))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    with pytest.raises(FileNotFoundError, match="no field file"):
        load_field(path)
    save_field(build_field("cp", BOUNDS), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FieldError, match="not a readable field"):
        load_field(path)
    path.write_bytes(whole.replace(b'"family":"cp"', b'"family":"qq"'))
    with pytest.raises(FieldError, match="unknown field 'qq'"):
        load_field(path)


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [
        ("hash", "pvd", 10.61e6),
        ("mlp", "pvd", 443_548),
        ("hash", "paper", 12.2e6),
        ("vm", "paper", 17.35e6),
        ("voxel", "pvd", 58.72e6),
        ("cp", "paper", 0.58e6),
        ("cam", "paper", 0.61e6),
    ],
)
def test_published_sizes(name: str, size: str, count: float) -> None:
    field = build_field(name, BOUNDS, size)
    total = sum(p.numel() for p in field.parameters())
    assert math.isclose(total, count, rel_tol=0.03), total
