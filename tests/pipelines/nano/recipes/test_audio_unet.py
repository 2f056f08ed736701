"""The recipe of the nano sound denoiser: loss in closed form, conditions, standard latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mappers.training.draws import Draws
from pipelines.nano.recipes.audio_unet import AudioDiffusionTask
from pipelines.nano.recipes.mel_vae import LATENT_SHAPE
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips


def draws(count: int) -> Draws:
    return Draws(0, 0, range(count))


def test_diffusion_loss_is_the_velocity_error(clips: Clips) -> None:
    """With a UNet that says zero the loss is |v|^2."""
    task = build_task("unet", clips, clips)
    assert isinstance(task, AudioDiffusionTask)
    torch.nn.init.zeros_(task.unet.conv_out.weight)
    torch.nn.init.zeros_(task.unet.conv_out.bias)
    some = draws(4)
    batch = task.batch(some)
    with torch.no_grad():
        loss = task.loss(task.modules, batch, some)["loss"]
    noise, times = some.normal("noise", LATENT_SHAPE), (some.uniform("timestep") * 1000).long()
    alpha = task.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch[0]
    torch.testing.assert_close(loss, velocity.square().mean(), atol=1e-5, rtol=1e-4)


def test_one_condition_in_ten_is_that_of_no_words_and_all_have_unit_length(clips: Clips) -> None:
    task = build_task("unet", clips, clips)
    assert isinstance(task, AudioDiffusionTask)
    seen = []

    def unet(noisy: torch.Tensor, timesteps: torch.Tensor, **given: torch.Tensor) -> torch.nn.Module:
        seen.append(given["class_labels"])
        out = torch.nn.Module()
        out.sample = noisy
        return out

    some = draws(200)
    task.loss({"unet": unet}, task.batch(some), some)
    torch.testing.assert_close(seen[0].norm(dim=1), torch.ones(200))
    dropped = (seen[0] @ task.nothing) > 0.9999
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.06)
    cosines = (seen[0] * task.batch(some)[1]).sum(1)[~dropped]
    assert cosines.mean().item() == pytest.approx(1 / np.sqrt(1 + task.drift**2), abs=0.005)


def test_latents_of_the_shipped_autoencoder_are_standard(clips: Clips) -> None:
    task = build_task("unet", clips, clips)
    assert isinstance(task, AudioDiffusionTask)
    variance = task.mean.float().var((0, 2, 3)) + task.std.float().square().mean((0, 2, 3))
    assert variance.tolist() == pytest.approx([1.0] * 8, abs=0.4)
