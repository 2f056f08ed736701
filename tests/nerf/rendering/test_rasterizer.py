"""The tiled rasterizer against one that knows no tiles, against closed forms, and its gradients against differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerf.cameras import Cameras, orbit
from nerf.fields.base import spherical_harmonics
from nerf.fields.splat import SplatConfig, SplatField
from nerf.rendering import blending
from nerf.rendering.projection import rotation_matrices
from nerf.rendering.rasterizer import Rasterized, rasterize

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def cloud(count: int, *, seed: int = 0, degree: int = 2, scale: float = 0.12) -> SplatField:
    torch.manual_seed(seed)
    field = SplatField(BOUNDS, SplatConfig(count=count, degree=degree))
    with torch.no_grad():
        field.log_scales.copy_(math.log(scale) + 0.5 * torch.randn(count, 3))
        field.opacity_logits.copy_(torch.randn(count))
        field.harmonics.copy_(0.3 * torch.randn(field.harmonics.shape))
    return field


def camera(width: int = 37, height: int = 29) -> Cameras:
    return orbit(5, radius=3.5, elevation=20, width=width, height=height, focal=40.0)[1]


def reference(field: SplatField, view: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Colour, opacity and depth from the equations of 3DGS for each pixel and Gaussian, in float64."""
    pose = view.poses[0].double()
    flip = torch.tensor([1.0, -1.0, -1.0]).double()
    world_to_camera = (pose[:, :3] * flip).T
    local = (field.means.double() - pose[:, 3]) @ world_to_camera.T
    x, y, z = local.unbind(-1)
    f = float(view.focal[0, 0])
    jacobian = torch.zeros(len(x), 2, 3).double()
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = f / z
    jacobian[:, 0, 2], jacobian[:, 1, 2] = -f * x / z**2, -f * y / z**2
    turn = rotation_matrices(field.quaternions.double())
    space = turn @ torch.diag_embed(field.log_scales.double().exp().square()) @ turn.transpose(1, 2)
    flat = jacobian @ world_to_camera @ space @ world_to_camera.T @ jacobian.transpose(1, 2)
    wide = flat + 0.3 * torch.eye(2).double()
    opacity = field.opacity_logits.double().sigmoid() * (flat.det() / wide.det()).sqrt()
    center = torch.tensor([view.width / 2, view.height / 2]).double()
    means = local[:, :2] / z[:, None] * f + center
    rows, columns = torch.meshgrid(torch.arange(view.height), torch.arange(view.width), indexing="ij")
    off = torch.stack([columns, rows], -1).double()[:, :, None] + 0.5 - means
    power = -0.5 * torch.einsum("hwni,nij,hwnj->hwn", off, wide.inverse(), off)
    alpha = (opacity * power.exp()).clamp(max=0.99)
    alpha = torch.where(alpha < 1 / 255, 0, alpha)[..., z.argsort()]
    before = torch.cat([torch.ones_like(alpha[..., :1]), (1 - alpha).cumprod(-1)[..., :-1]], -1)
    directions = normalize(field.means.double() - pose[:, 3], dim=-1)
    basis = spherical_harmonics(directions, field.config.degree + 1)
    color = (0.5 + (basis[:, :, None] * field.harmonics.double()).sum(1)).clamp(min=0)[z.argsort()]
    weights = alpha * before
    return weights @ color, weights.sum(-1), weights @ z.sort().values


def parts(view: Rasterized) -> tuple[Tensor, Tensor, Tensor]:
    return view.color, view.opacity, view.depth


@pytest.mark.parametrize("slots", [4, 64])
def test_tiles_draw_what_every_pixel_and_gaussian_draw(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blending, "SLOTS", slots)
    monkeypatch.setattr(blending, "TILES", 7)
    monkeypatch.setattr(blending, "OPAQUE", 0.0)
    field = cloud(300)
    for drawn, truth in zip(parts(rasterize(field, camera())), reference(field, camera()), strict=True):
        torch.testing.assert_close(drawn.double(), truth, atol=1e-4, rtol=1e-4)


def test_what_is_behind_an_opaque_surface_may_be_left_out() -> None:
    field = cloud(2000, scale=0.2)
    for drawn, truth in zip(parts(rasterize(field, camera()))[:2], reference(field, camera())[:2], strict=True):
        torch.testing.assert_close(drawn.double(), truth, atol=2e-3, rtol=0)


def test_gradients_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blending, "SLOTS", 8)
    monkeypatch.setattr(blending, "OPAQUE", 0.0)
    field, view = cloud(60), camera()
    torch.manual_seed(3)
    weights = torch.randn(view.height, view.width, 5).double()

    def gradients(color: Tensor, opacity: Tensor, depth: Tensor) -> list[Tensor]:
        stacked = torch.cat([color, opacity[..., None], depth[..., None]], -1).double()
        return list(torch.autograd.grad((stacked * weights).sum(), list(field.parameters())))

    ours, theirs = gradients(*parts(rasterize(field, view))), gradients(*reference(field, view))
    for (name, _), found, truth in zip(field.named_parameters(), ours, theirs, strict=True):
        assert (found - truth).norm() < 2e-3 * truth.norm(), name


def test_one_round_gaussian_is_a_gaussian_of_the_right_width() -> None:
    field = SplatField(BOUNDS, SplatConfig(count=1, degree=0))
    with torch.no_grad():
        field.means.zero_()
        field.log_scales.fill_(math.log(0.2))
        field.opacity_logits.fill_(1.0)
        field.harmonics.fill_(0.5 * 2 * math.sqrt(math.pi))
    view = orbit(1, radius=4.0, elevation=0, width=41, height=41, focal=80.0)
    with torch.no_grad():
        drawn = rasterize(field, view)
    variance = (80 * 0.2 / 4) ** 2
    peak = torch.sigmoid(torch.tensor(1.0)) * variance / (variance + 0.3)
    across = drawn.opacity[20]
    assert float(across[20]) == pytest.approx(float(peak), rel=1e-4)
    assert float(across[25]) == pytest.approx(float(peak) * math.exp(-25 / (2 * (variance + 0.3))), rel=1e-3)
    # Its colour is 0.5 + 0.5 in every channel, and its depth the camera's distance.
    torch.testing.assert_close(drawn.color[20, 20], peak.expand(3), atol=1e-4, rtol=0)
    assert float(drawn.depth[20, 20] / drawn.opacity[20, 20]) == pytest.approx(4.0, rel=1e-5)


def test_a_small_picture_is_as_bright_as_a_large_one() -> None:
    """Mip-Splatting: without the dimming, pixels' own width would make thin Gaussians several times too bright."""
    field, poses = cloud(200, scale=0.03), camera().poses
    small, large = (Cameras.pinhole(poses, width=side, height=side, focal=float(side)) for side in (20, 160))
    with torch.no_grad():
        means = [float(rasterize(field, view).opacity.mean()) for view in (small, large)]
    assert means[0] == pytest.approx(means[1], rel=0.25)


def test_gaussians_behind_the_camera_and_outside_the_picture_are_not_drawn() -> None:
    field = cloud(40)
    view = camera()
    with torch.no_grad():
        field.means += view.positions[0] - 3 * view.forward[0]
    assert not rasterize(field, view).opacity.any()
    rasterize(field, view).color.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in field.parameters())


def test_a_camera_with_lens_distortion_is_refused() -> None:
    view = camera()
    bent = Cameras(view.poses, view.focal, view.center, view.width, view.height, distortion=torch.full((1, 6), 0.1))
    with pytest.raises(ValueError, match="without lens distortion"):
        rasterize(cloud(3), bent)
