"""Volume rendering against closed forms, brute force and numeric gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.rendering.compositing import composite, distortion, opacity_entropy, render_weights
from nerf.rendering.sampling import Samples, intersect_box, invert_cdf, samples_between, stratified

UNIT = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize("count", [1, 2, 7, 64, 512])
def test_homogeneous_slab(count: int) -> None:
    """Opacity 1 - exp(-density length), whatever the number of samples."""
    density = torch.tensor([0.0, 0.3, 2.0, 50.0])
    samples = stratified(torch.full((4,), 1.0), torch.full((4,), 3.0), count)
    out = composite(samples, density[samples.ray], torch.full((len(samples), 3), 0.25), torch.ones(4, 3))
    opacity = 1 - torch.exp(-density * 2)
    torch.testing.assert_close(out.opacity, opacity, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.color[:, 0], 0.25 * opacity + 1 - opacity, atol=1e-5, rtol=0)


def test_two_slabs() -> None:
    """The front one hides the back one by its transmittance."""
    samples = samples_between(torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    density = torch.tensor([0.7, 0.0, 2.0])
    color = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    out = composite(samples, density, color, torch.zeros(1, 3))
    front, back = 1 - math.exp(-0.7), math.exp(-0.7) * (1 - math.exp(-2.0))
    torch.testing.assert_close(out.color[0], torch.tensor([front, 0.0, back]))
    torch.testing.assert_close(out.depth[0], torch.tensor(front * 0.5 + back * 2.5))


def test_depth_of_a_medium_converges_to_its_integral() -> None:
    samples = stratified(torch.zeros(1), torch.full((1,), 40.0), 4000)
    out = composite(samples, torch.full((4000,), 0.5), torch.zeros(4000, 3), torch.zeros(1, 3))
    torch.testing.assert_close(out.depth[0] / out.opacity[0], torch.tensor(2.0), atol=1e-3, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 2**31))
def test_packed_rays_equal_a_loop(counts: list[int], seed: int) -> None:
    """Rays of any length, empty ones too, equal the textbook recursion; weights and what is left sum to one."""
    generator = torch.Generator().manual_seed(seed)
    ray = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    start = torch.rand(len(ray), generator=generator)
    for r in range(len(counts)):
        start[ray == r] = start[ray == r].sort().values
    samples = Samples(ray, start, start + 0.1, len(counts))
    density = torch.rand(len(ray), generator=generator) * 20
    color = torch.rand(len(ray), 3, generator=generator)
    background = torch.rand(len(counts), 3, generator=generator)
    out = composite(samples, density, color, background)
    assert (out.weights >= 0).all()
    for r in range(len(counts)):
        left, seen = 1.0, torch.zeros(3)
        for i in (ray == r).nonzero()[:, 0].tolist():
            alpha = 1 - math.exp(-float(density[i] * (samples.end[i] - samples.start[i])))
            torch.testing.assert_close(out.weights[i], torch.tensor(left * alpha), atol=1e-6, rtol=1e-4)
            seen += left * alpha * color[i]
            left *= 1 - alpha
        torch.testing.assert_close(out.opacity[r], torch.tensor(1 - left), atol=1e-5, rtol=0)
        torch.testing.assert_close(out.color[r], seen + left * background[r], atol=1e-5, rtol=0)


def test_last_rays_of_a_long_list_lose_nothing() -> None:
    """The running sum over all rays is large when the last one starts."""
    samples = stratified(torch.zeros(4000), torch.ones(4000), 64)
    density = torch.full((len(samples),), 1000.0)
    density[-64:] = 0.01
    out = render_weights(samples, density)
    torch.testing.assert_close(out[-64:].sum(), torch.tensor(1 - math.exp(-0.01)), atol=1e-6, rtol=0)


def test_a_wall_on_one_ray_leaves_the_next_one_as_it_is() -> None:
    """The densest that a field can be, exp(50), in front of a ray through thin fog."""
    density = torch.tensor([math.exp(50.0), 0.3, 0.7, 2.0], requires_grad=True)
    samples = samples_between(torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]))
    weights = render_weights(samples, density)
    expected = [1.0, 0.0, 1 - math.exp(-0.7), math.exp(-0.7) * (1 - math.exp(-2.0))]
    torch.testing.assert_close(weights, torch.tensor(expected))
    weights.sum().backward()
    assert density.grad is not None
    assert density.grad.isfinite().all()


def test_splitting_an_interval_changes_nothing() -> None:
    whole = composite(
        samples_between(torch.tensor([[0.0, 2.0]])), torch.tensor([0.8]), torch.rand(1, 3), torch.ones(1, 3)
    )
    parts = samples_between(torch.tensor([[0.0, 0.3, 1.1, 2.0]]))
    split = render_weights(parts, torch.full((3,), 0.8))
    torch.testing.assert_close(split.sum(), whole.opacity[0])


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    samples = Samples(torch.tensor([0, 0, 0, 2, 2]), torch.arange(5.0), torch.arange(5.0) + 1, 3)
    color, background = torch.rand(5, 3), torch.rand(3, 3)

    def render(log_density: torch.Tensor) -> torch.Tensor:
        return composite(samples, log_density.exp(), color, background).color

    raw = torch.randn(5, requires_grad=True)
    (gradient,) = torch.autograd.grad(render(raw)[:, 1].sum(), raw)
    for i in range(5):
        shift = torch.zeros(5)
        shift[i] = 1e-2
        numeric = (render(raw + shift)[:, 1].sum() - render(raw - shift)[:, 1].sum()) / 2e-2
        torch.testing.assert_close(gradient[i], numeric.detach(), atol=1e-4, rtol=1e-2)


def test_gradients_pass_gradcheck_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)

    def numbers(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    start = torch.arange(6, dtype=torch.float64)
    samples = Samples(torch.tensor([0, 0, 0, 1, 3, 3]), start, start + numbers(6), 4)
    density, color, background = (3 * numbers(6), numbers(6, 3), numbers(4, 3))
    parts = [value.requires_grad_() for value in (density, color, background)]

    def render(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = composite(samples, *values)
        return out.color, out.opacity, out.depth, out.weights

    assert torch.autograd.gradcheck(render, parts)


def test_box_against_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    origins = torch.rand(200, 3, generator=generator) * 3 - 1
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=generator), dim=-1)
    enter, leave = intersect_box(origins, directions, UNIT)
    at = torch.linspace(0, 6, 6001)
    points = origins[:, None] + directions[:, None] * at[:, None]
    inside = ((points >= 0) & (points <= 1)).all(-1)
    hit = leave > enter
    assert torch.equal(hit, inside.any(1) | (hit & (leave - enter < 2e-3)))
    for r in inside.any(1).nonzero()[:, 0].tolist():
        span = at[inside[r]]
        assert abs(span[0] - enter[r]) < 2e-3
        assert abs(span[-1] - leave[r]) < 2e-3


def test_box_special_rays() -> None:
    origins = torch.tensor([[0.5, 0.5, 0.5], [-1.0, 0.5, 0.5], [-1.0, 1.5, 0.5], [0.5, 0.0, -1.0]])
    directions = torch.tensor([[0.0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    enter, leave = intersect_box(origins, directions, UNIT)
    torch.testing.assert_close(enter[:2], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(leave[:2], torch.tensor([0.5, 2.0]))
    assert leave[2] <= enter[2]
    assert enter.isfinite().all()
    assert leave.isfinite().all()


def test_a_ray_that_misses_shows_the_background_exactly() -> None:
    samples = Samples(torch.zeros(0, dtype=torch.long), torch.zeros(0), torch.zeros(0), 2)
    background = torch.rand(2, 3)
    out = composite(samples, torch.zeros(0), torch.zeros(0, 3), background)
    assert torch.equal(out.color, background)


def test_jitter_moves_the_edges_and_still_tiles_the_ray() -> None:
    samples = stratified(torch.zeros(2), torch.ones(2), 4, torch.tensor([0.0, 0.75]))
    start, end = samples.start.view(2, 4), samples.end.view(2, 4)
    torch.testing.assert_close(end[:, :-1], start[:, 1:])
    torch.testing.assert_close(start[:, 0], torch.zeros(2))
    torch.testing.assert_close(end[:, -1], torch.ones(2))
    torch.testing.assert_close(start[1, 1] - start[0, 1], torch.tensor(0.75 / 4))


def test_importance_follows_the_weights() -> None:
    edges = torch.tensor([[0.0, 1.0, 2.0, 4.0]])
    weights = torch.tensor([[1.0, 0.0, 3.0]])
    drawn = invert_cdf(edges, weights, torch.linspace(0, 1, 10001)[None])[0]
    assert abs(((drawn <= 1).float().mean()) - 0.25) < 1e-3
    assert ((drawn > 1.001) & (drawn < 1.999)).float().mean() < 1e-3
    assert abs(drawn[drawn > 2].mean() - 3) < 1e-2
    even = invert_cdf(edges, torch.zeros(1, 3), torch.linspace(0, 1, 301)[None])[0]
    assert (even[1:] >= even[:-1]).all()
    assert even[-1] == 4


def test_distortion_equals_the_double_sum() -> None:
    torch.manual_seed(0)
    ray = torch.tensor([0, 0, 0, 1, 1, 3])
    start = torch.tensor([0.0, 1.0, 2.5, 0.5, 2.0, 1.0])
    samples = Samples(ray, start, start + torch.rand(6), 4)
    weights = torch.rand(6)
    middle, length = samples.middle, samples.end - samples.start
    for r in range(4):
        mine = ray == r
        w, m = weights[mine], middle[mine]
        expected = (w[:, None] * w * (m[:, None] - m).abs()).sum() + (w.square() * length[mine]).sum() / 3
        torch.testing.assert_close(distortion(samples, weights)[r], expected)


def test_opacity_entropy_is_small_at_both_ends() -> None:
    values = opacity_entropy(torch.tensor([0.0, 0.5, 1.0]))
    assert values[0] < 1e-3
    assert values[2] < 1e-3
    torch.testing.assert_close(values[1], torch.tensor(math.log(2)))
