"""The recipe of the nano denoiser: schedule, loss in closed form, and the distribution of its training samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mappers.training.draws import Draws
from pipelines.nano.recipes.diffusion import DiffusionTask, build_scheduler
from pipelines.nano.recipes.vae import build_vae
from pipelines.nano.train import build_task


def test_the_last_signal_is_small_but_not_zero() -> None:
    last = build_scheduler().alphas_cumprod[-1].sqrt().item()
    assert 0.01 < last < 0.06


def test_diffusion_loss_is_the_velocity_error() -> None:
    """With a UNet that says zero the loss is |v|^2."""
    task = build_task("diffusion")
    assert isinstance(task, DiffusionTask)
    torch.nn.init.zeros_(task.unet.conv_out.weight)
    torch.nn.init.zeros_(task.unet.conv_out.bias)
    draws = Draws(0, 0, range(4))
    batch = task.batch(draws)
    with torch.no_grad():
        loss = task.loss(task.modules, batch, draws)["loss"]
    noise, times = draws.normal("noise", (4, 16, 16)), task.timesteps(draws.uniform("timestep"))
    alpha = task.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * task.latents(batch)
    torch.testing.assert_close(loss, velocity.square().mean(), atol=1e-5, rtol=1e-4)


def test_the_denoiser_fits_the_autoencoder_of_its_folder(tmp_path: Path) -> None:
    build_vae().save_pretrained(tmp_path / "vae")
    task = build_task("diffusion", text_to_image=tmp_path)
    assert isinstance(task, DiffusionTask)
    draws = Draws(0, 0, range(1))
    assert task.latents(task.batch(draws)).shape == (1, 8, 16, 16)
    assert task.loss(task.modules, task.batch(draws), draws)["loss"].isfinite()


def test_a_denoiser_for_other_latents_keeps_all_but_its_first_and_last_convolution(tmp_path: Path) -> None:
    build_vae().save_pretrained(tmp_path / "vae")
    start, task = build_task("diffusion", shipped=True), build_task("diffusion", shipped=True, text_to_image=tmp_path)
    assert isinstance(start, DiffusionTask)
    assert isinstance(task, DiffusionTask)
    old, new = start.unet.state_dict(), task.unet.state_dict()
    changed = {name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])}
    assert changed == {"conv_in.weight", "conv_in.bias", "conv_out.weight", "conv_out.bias"}
    assert new["conv_in.weight"].shape[1] == new["conv_out.weight"].shape[0] == 8


def test_the_denoiser_learns_from_calm_poses_half_of_them_named_on_plain_grounds() -> None:
    task = build_task("diffusion")
    assert isinstance(task, DiffusionTask)
    draws = Draws(0, 0, range(600))
    sampled = [task.batch.sample(draws.numpy(i)) for i in range(600)]
    scenes = [scene for scene, _ in sampled]
    assert not any(scene.flip or abs(scene.tilt) > 5 for scene in scenes)
    calm = [scene for scene in scenes if scene.tilt == 0]
    assert len(calm) == pytest.approx(420, abs=40)
    assert all(abs(scene.x - 0.5) <= 1 / 64 for scene in calm)
    plain = [(scene, caption) for scene, caption in sampled if scene.place == "plain" and scene.count == 1]
    assert len(plain) == pytest.approx(350, abs=50)
    named = [caption for scene, caption in plain if scene.object in caption]
    assert len(named) >= 0.8 * len(plain)
    assert len({scene.object for scene in scenes}) > 270


def test_log_signal_to_noise_ratios_of_training_are_normal() -> None:
    task = build_task("diffusion")
    assert isinstance(task, DiffusionTask)
    times = task.timesteps((torch.arange(10000) + 0.5) / 10000)
    assert times.min() >= 0
    assert times.max() <= 999
    assert (times.diff() <= 0).all() or (times.diff() >= 0).all()
    alpha = task.scheduler.alphas_cumprod[times]
    ratio = (alpha / (1 - alpha)).log()
    assert ratio.mean().item() == pytest.approx(task.log_snr_mean, abs=0.05)
    assert ratio.std().item() == pytest.approx(task.log_snr_std, abs=0.05)
