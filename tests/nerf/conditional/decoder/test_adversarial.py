"""The adversarial objective: whose gradient goes where and with which sign, patches, and runs from start to model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from mappers.yaml_settings import load_settings
from nerf.cameras import Cameras
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.decoder.adversarial import (
    SAMPLES,
    AdversarialTask,
    Discriminator,
    cropped,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    reward,
)
from nerf.conditional.mapping.caption_library import build_library, fit_ridge
from nerf.conditional.mapping.objective import ObjectiveConfig
from nerf.conditional.mapping.render_task import MapperConfig, MapperTask
from nerf.conditional.settings import CategoryConfig
from nerf.conditional.train import Arguments, main
from nerf.rendering.compositing import Rendered

RECIPE = """
family: chairs
objective: gan
shapes: 5
palettes: 4
size: 16
intervals: 16
field: {shape_code: 6, appearance_code: 5, layers: 2, width: 24, octaves: 3, deform_layers: 1, deform_width: 16,
        color_layers: 1, color_width: 16}
gan: {patch: 8, channels: 8, anneal_steps: 4, density_noise: 1.0, noise_steps: 3}
train: {steps: 4, batch_size: 4, learning_rate: 2.0e-3, betas: [0.0, 0.99], weight_decay: 0.0, log_every: 1,
        save_every: 3, validate_every: 4, cpu: true}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def config(recipe: Path) -> CategoryConfig:
    return load_settings(CategoryConfig, recipe, task="conditional")


def task_of(config: CategoryConfig) -> AdversarialTask:
    torch.manual_seed(0)
    task = AdversarialTask(config)
    nn.init.normal_(task.field.deform.last.weight, std=0.1)  # so that shape codes matter
    return task


def with_gan(config: CategoryConfig, **changes: Any) -> CategoryConfig:
    return dataclasses.replace(config, gan=dataclasses.replace(config.gan, **changes))


def gradients(module: nn.Module) -> list[Tensor]:
    values = [parameter.grad for parameter in module.parameters()]
    return [torch.zeros(0) if value is None else value for value in values]


def test_signs_are_the_papers() -> None:
    u = torch.linspace(-6, 6, 25)
    torch.testing.assert_close(reward(u), -(1 + (-u).exp()).log())
    sure, unsure = torch.tensor([5.0, 7.0]), torch.tensor([-5.0, -7.0])
    # The discriminator likes fakes high and real pictures low; a generator likes its fakes low.
    assert discriminator_loss(unsure, sure) < 0.1 < 9 < discriminator_loss(sure, unsure)
    for kind in ("softplus", "printed"):
        assert generator_loss(unsure, kind) < generator_loss(sure, kind)
    # Where both play with f(D(fake)) the game is zero-sum: what one gains the other loses.
    fake = torch.randn(7, requires_grad=True)
    (a,) = torch.autograd.grad(discriminator_loss(torch.zeros(7), fake), fake)
    (b,) = torch.autograd.grad(generator_loss(fake, "printed"), fake)
    torch.testing.assert_close(a, -b)
    # GRAF's code in the other convention, high for real: softplus(-D') for the generator, both softplus for D'.
    real = torch.randn(7)
    other_fake, other_real = -fake, -real
    torch.testing.assert_close(generator_loss(fake, "softplus"), softplus(-other_fake).mean())
    wanted = softplus(-other_real).mean() + softplus(other_fake).mean()
    torch.testing.assert_close(discriminator_loss(real, fake), wanted)
    # Its gradient is strongest where D is sure of a fake; the printed one's is weakest there.
    steep = torch.tensor([8.0], requires_grad=True)
    (strong,) = torch.autograd.grad(generator_loss(steep, "softplus"), steep)
    (weak,) = torch.autograd.grad(generator_loss(steep, "printed"), steep)
    assert float(strong) > 0.99 > 0.01 > float(weak) > 0


def test_penalty_of_a_linear_discriminator_is_the_square_of_its_weights() -> None:
    weight = torch.randn(3, 8, 8, requires_grad=True)
    real = torch.randn(5, 3, 8, 8, requires_grad=True)
    penalty = gradient_penalty((real * weight).sum((1, 2, 3)) + 3, real)
    torch.testing.assert_close(penalty, weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * weight)


def test_penalty_lowers_the_slope_of_the_real_discriminator() -> None:
    torch.manual_seed(0)
    judge, real = Discriminator(16, 16), torch.rand(4, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(judge.parameters(), lr=5e-3)
    values = []
    for _ in range(20):
        real.grad = None
        values.append(gradient_penalty(judge(real.requires_grad_()), real))
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert float(values[-1].detach()) < 0.7 * float(values[0].detach())


def test_one_step_of_the_discriminator_lowers_its_loss(config: CategoryConfig) -> None:
    task, draws = task_of(config), Draws(0, 0, range(4))
    batch = task.batch(draws)
    optimizer = torch.optim.SGD(task.discriminator.parameters(), lr=1e-2)

    def loss() -> Tensor:
        task.discriminator.eval()  # the same power iteration before and after
        values = task.loss(task.modules, batch, draws)
        return values["discriminator"] + config.gan.penalty * values["penalty"]

    before = loss()
    before.backward()
    optimizer.step()
    assert float(loss().detach()) < float(before.detach())


def test_one_step_of_the_field_lowers_its_loss(config: CategoryConfig) -> None:
    task, draws = task_of(config), Draws(0, 0, range(4))
    batch = task.batch(draws)
    before = task.loss(task.modules, batch, draws)["generator"]
    before.backward()
    torch.optim.SGD(task.field.parameters(), lr=1e-2).step()
    assert float(task.loss(task.modules, batch, draws)["generator"].detach()) < float(before.detach())


@pytest.mark.parametrize("kind", ["softplus", "printed"])
def test_each_player_gets_the_gradient_of_its_own_loss(config: CategoryConfig, kind: str) -> None:
    config = with_gan(config, generator=kind)

    def gradients_of(*names: str) -> tuple[list[Tensor], list[Tensor]]:
        task, draws = task_of(config), Draws(0, 1, range(4))
        task.discriminator.eval()  # otherwise its norms move with every look
        values = task.loss(task.modules, task.batch(draws), draws)
        weights = {"penalty": config.gan.penalty}
        torch.stack([weights.get(name, 1.0) * values[name] for name in names]).sum().backward()
        return gradients(task.field), gradients(task.discriminator)

    both, of_field, of_judge = (
        gradients_of(*names) for names in (("loss",), ("generator",), ("discriminator", "penalty"))
    )
    assert all(value.numel() and value.abs().sum() > 0 for side in both for value in side)
    assert not any(value.numel() for value in of_field[1])
    assert not any(value.numel() for value in of_judge[0])
    for whole, own in zip(both, (of_field[0], of_judge[1]), strict=True):
        for a, b in zip(whole, own, strict=True):
            torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-5)


def test_a_frozen_discriminator_says_the_same_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    judge = Discriminator(16, 16)
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    patches = torch.rand(3, 3, 16, 16, requires_grad=True)
    frozen = judge(patches, frozen=True)
    frozen.sum().backward()
    assert patches.grad is not None
    assert patches.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in judge.parameters())
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())
    torch.testing.assert_close(frozen, judge(patches))


def test_discriminator_has_grafs_sizes_and_unit_norms() -> None:
    torch.manual_seed(0)
    for patch, widths in ((32, [128, 256, 512, 1]), (64, [64, 128, 256, 512, 1])):
        layers = [layer for layer in Discriminator(patch, 512).net if isinstance(layer, nn.Conv2d)]
        assert [layer.out_channels for layer in layers] == widths
        norms = [float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) for layer in layers]
        assert norms == pytest.approx([1.0] * len(norms), abs=0.1)
    judge = Discriminator(32, 64)
    patches = torch.rand(5, 3, 32, 32)
    assert judge(patches).shape == (5,)
    judge.eval()
    torch.testing.assert_close(judge(patches)[2:3], judge(patches[2:3]))  # no patch sees another


def orbit(count: int, size: int, config: CategoryConfig) -> Cameras:
    return AdversarialTask(config).family.cameras(count, size, torch.Generator().manual_seed(0))


def test_patches_of_full_scale_reach_the_corners(config: CategoryConfig) -> None:
    cameras = orbit(2, 31, config)
    patch = cropped(cameras, 7, torch.ones(2), torch.rand(2, 2))
    corners = torch.tensor([[0.5, 0.5], [30.5, 0.5], [0.5, 30.5], [30.5, 30.5]])
    for i in range(2):
        wanted = cameras.rays(torch.full((4,), i), corners)
        got = patch.picture_rays(i)[[0, 6, 42, 48]]
        torch.testing.assert_close(got.views, wanted.views)
        assert torch.equal(got.origins, wanted.origins)


def test_a_patch_as_large_as_the_picture_is_its_pixels(config: CategoryConfig) -> None:
    cameras = orbit(3, 16, config)
    patch = cropped(cameras, 16, torch.ones(3), torch.rand(3, 2))
    assert torch.equal(patch.focal, cameras.focal)
    assert torch.equal(patch.center, cameras.center)
    task = AdversarialTask(config)
    drawn = [task.family.render(task.split.shapes[:3], task.split.palettes[:3], seen)[0] for seen in (cameras, patch)]
    assert torch.equal(*drawn)


def test_patches_lie_inside_and_evenly_spaced(config: CategoryConfig) -> None:
    cameras = orbit(3, 31, config)
    scale, shift = torch.tensor([0.25, 0.5, 0.5]), torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    patch = cropped(cameras, 4, scale, shift)
    steps = torch.arange(4.0)
    for i, (left, top, gap) in enumerate([(0.5, 23.0, 2.5), (8.0, 8.0, 5.0), (15.5, 0.5, 5.0)]):
        y, x = torch.meshgrid(top + gap * steps, left + gap * steps, indexing="ij")
        wanted = cameras.rays(torch.full((16,), i), torch.stack([x, y], -1).view(-1, 2))
        torch.testing.assert_close(patch.picture_rays(i).views, wanted.views)


def test_real_and_fake_share_coordinates_and_ground(config: CategoryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(config)
    seen: list[Cameras] = []
    whole = type(task.family).render
    monkeypatch.setattr(type(task.family), "render", lambda self, s, p, c: seen.append(c) or whole(self, s, p, c))
    batch = task.batch(Draws(0, 9, range(4)))
    cameras, points = seen[0], 8 * 8
    for i in range(4):
        # In each camera's own frame the rays are the same; the cameras are not.
        real = cameras.picture_rays(i).views @ cameras.poses[i, :, :3]
        rays = batch.rays[slice(i * points, (i + 1) * points)]
        fake = rays.views
        assert not torch.allclose(rays.origins[0], cameras.positions[i])
        torch.testing.assert_close(real @ real.T, fake @ fake.T, atol=1e-4, rtol=0)  # angles between rays
    flat = batch.real.permute(0, 2, 3, 1).flatten(1, 2)
    ground = batch.ground[:, None] * 2 - 1
    missed = (flat - ground).abs().amax(-1) < 1e-6
    assert 0 < int(missed.sum()) < missed.numel()
    # A field of no density shows the ground alone.
    nn.init.constant_(task.field.trunk.last.bias[:1], -40.0)
    nn.init.zeros_(task.field.trunk.last.weight)
    fake = task.fakes(task.field, batch, Draws(0, 9, range(4))).detach()
    torch.testing.assert_close(fake, (batch.ground * 2 - 1)[..., None, None].expand_as(fake))
    white = task_of(with_gan(config, ground="white")).batch(Draws(0, 9, range(4)))
    assert torch.equal(white.ground, torch.ones(4, 3))


def test_scales_fall_to_the_least_and_pictures_are_of_training_pairs(config: CategoryConfig) -> None:
    task = task_of(config)
    wide = [task._scale(Draws(0, step, range(200))) for step in (0, 2, 4, 400)]
    assert torch.equal(wide[0], torch.ones(200))
    assert 0.5 <= float(wide[1].min()) < 0.52
    for late in wide[2:]:
        assert 0.25 <= float(late.min()) < 0.27
        assert float(late.max()) > 0.98
    assert not task.split.held_out_pairs[tuple(task.pairs.T)].any()
    assert len(task.pairs) == int((~task.split.held_out_pairs).sum())
    codes = task.batch(Draws(0, 0, range(256)))
    for code in (codes.shape_code, codes.appearance_code):
        assert float(code.mean().abs()) < 0.1
        assert float(code.std()) == pytest.approx(1, abs=0.1)


def test_noise_is_on_density_alone_and_fades(config: CategoryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    task, quiet = task_of(config), task_of(with_gan(config, density_noise=0.0))
    batch = task.batch(Draws(0, 0, range(2)))
    opacity: list[Tensor] = []

    def noted(samples: Any, density: Tensor, color: Tensor, ground: Tensor) -> Rendered:
        opacity.append(density.detach())
        return Rendered(ground, ground[:, 0], ground[:, 0], density)

    monkeypatch.setattr("nerf.conditional.decoder.adversarial.composite", noted)
    for step in (0, 1, 3):
        for one in (task, quiet):
            one.fakes(one.field, batch, Draws(0, step, range(2)))
    spreads = [float((opacity[i] / opacity[i + 1]).log().std()) for i in (0, 2, 4)]
    assert spreads == pytest.approx([1.0, 2 / 3, 0.0], abs=0.08)


def test_a_resumed_run_is_the_uninterrupted_one(config: CategoryConfig, resumes: Callable[..., None]) -> None:
    resumes(lambda: task_of(config), config.train)


def test_the_discriminator_learns_to_tell_pictures_apart(config: CategoryConfig) -> None:
    task = task_of(config)
    before = task.logits(0)
    assert before == task.logits(0)
    train = TrainConfig(steps=40, batch_size=4, learning_rate=5e-3, betas=(0.0, 0.99), cpu=True)
    task.rates = {"field": 1e-9}
    fit(task, train)
    after = task.logits(0)
    assert after["logit_fake"] - after["logit_real"] > 0.2 + before["logit_fake"] - before["logit_real"]


def test_a_recipe_becomes_a_model(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = main(Arguments(recipe=str(recipe), output=tmp_path / "run"))
    assert report.steps == 4
    assert set(report.metrics) == {"val/logit_real", "val/logit_fake"}
    assert (tmp_path / "run" / "samples" / "step_000004_pictures.png").is_file()
    model = ConditionalModel.load(tmp_path / "run" / "model")
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert model.notes.items() <= printed.items()
    assert model.notes["objective"] == "gan"
    assert model.sampled
    assert model.shape_codes.shape == (5, 6)
    assert model.appearance_codes.shape == (4, 5)
    samples = torch.randn(5, 6, generator=torch.Generator().manual_seed(SAMPLES))
    torch.testing.assert_close(model.shape_codes, samples, atol=2e-3, rtol=0)  # folders hold half precision
    picture = model.render(*model.sample(3), model.camera(30, 20, 8))
    assert picture.color.shape == (8, 8, 3)


def test_instances_are_samples_so_that_editing_learns_from_their_renders(
    config: CategoryConfig, tiny_clip: Scorer
) -> None:
    model = task_of(config).model()
    known = build_library(model, tiny_clip, 3, pictures=1.0, seed=2)
    generator = torch.Generator().manual_seed(2)
    allowed = (~task_of(config).split.held_out_pairs).nonzero()
    pairs = allowed[torch.randint(len(allowed), (3,), generator=generator)]
    cameras = model.family.cameras(3, tiny_clip.size, generator)
    drawn = [
        model.render(model.shape_codes[s], model.appearance_codes[p], cameras[i]).color
        for i, (s, p) in enumerate(pairs.tolist())
    ]
    torch.testing.assert_close(known.embedding, tiny_clip.embed_images(torch.stack(drawn)))
    mapper = fit_ridge(model, tiny_clip, count=6)
    assert mapper(known.embedding, *(t[:3] for t in (model.shape_codes, model.appearance_codes)))[0].shape == (3, 6)
    task = MapperTask(model, tiny_clip, MapperConfig(prompts=4, objective=ObjectiveConfig(size=8)))
    draws = Draws(0, 0, range(2))
    assert bool(task.loss(task.modules, task.batch(draws), draws)["loss"].isfinite())
    with pytest.raises(ValueError, match="direction_weight needs captions of the model's instances"):
        MapperTask(model, tiny_clip, MapperConfig(objective=ObjectiveConfig(direction_weight=1.0)))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    recipe: Path, one_and_two: Callable[[Path], tuple[Path, Path]], logged: Callable[[Path], list[dict[str, Any]]]
) -> None:
    names = ("train/loss", "train/generator", "train/penalty", "train/logit_real", "train/logit_fake")
    figures = [torch.tensor([[row[name] for name in names] for row in logged(run)]) for run in one_and_two(recipe)]
    assert len(figures[0]) == 4
    torch.testing.assert_close(*figures, atol=1e-4, rtol=1e-3)
