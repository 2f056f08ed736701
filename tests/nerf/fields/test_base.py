"""The density activation and the spherical harmonics."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from nerf.fields.base import SphericalHead, density_of, spherical_harmonics


def test_density_gradient_is_finite_and_right_in_the_middle() -> None:
    raw = torch.tensor([-100.0, -3.0, 0.0, 2.5, 100.0], requires_grad=True)
    density = density_of(raw)
    density.sum().backward()
    assert density.isfinite().all()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    torch.testing.assert_close(raw.grad[1:4], density[1:4].detach())


def test_harmonics_are_orthonormal() -> None:
    """Gauss-Legendre in the polar angle and even steps in the azimuth integrate them exactly."""
    nodes, weights = (torch.from_numpy(v).float() for v in __import__("numpy").polynomial.legendre.leggauss(12))
    azimuth = torch.arange(24) * (2 * math.pi / 24)
    radius = (1 - nodes.square()).sqrt()
    directions = torch.stack(
        [radius[:, None] * azimuth.cos(), radius[:, None] * azimuth.sin(), nodes[:, None].expand(-1, 24)], -1
    ).flatten(0, 1)
    values = spherical_harmonics(directions, 4)
    gram = (values * weights.repeat_interleave(24)[:, None] * (2 * math.pi / 24)).T @ values
    torch.testing.assert_close(gram, torch.eye(16), atol=1e-4, rtol=0)


def test_lower_degrees_are_prefixes() -> None:
    directions = F.normalize(torch.randn(10, 3), dim=-1)
    whole = spherical_harmonics(directions, 4)
    for degree in (1, 2, 3):
        assert torch.equal(spherical_harmonics(directions, degree), whole[:, : degree**2])


def test_spherical_head_is_a_sum_of_harmonics() -> None:
    features = torch.zeros(1, 27)
    features[0, 9 + 3] = 2.0  # green, the harmonic along x
    view = torch.tensor([[1.0, 0.0, 0.0]])
    expected = torch.sigmoid(torch.tensor([0.0, 2 * math.sqrt(3 / (4 * math.pi)), 0.0]))
    torch.testing.assert_close(SphericalHead()(features, view)[0], expected)
