"""The recipe of the nano autoencoder: standardized latents, figures in closed form, a frozen encoder."""

from __future__ import annotations

import pytest
import torch

from pipelines.nano import world
from pipelines.nano.recipes.vae import VAETask, build_vae, pictures_of, psnr_per_picture, standardize_latents
from pipelines.nano.train import build_task


def test_standardized_latents_decode_to_the_same_pictures() -> None:
    torch.manual_seed(0)
    vae = build_vae()
    pictures = pictures_of(world.scenes_of(world.SUBSET[:8]))
    with torch.no_grad():
        before = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
        first = vae.encode(pictures).latent_dist
        standardize_latents(vae, pictures)
        posterior = vae.encode(pictures).latent_dist
        after = vae.decode(posterior.mode()).sample
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(posterior.mode().mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    variance = posterior.mode().var((0, 2, 3)) + posterior.var.mean((0, 2, 3))
    torch.testing.assert_close(variance, torch.ones(8), atol=1e-4, rtol=0)
    scale = first.mode().std((0, 2, 3)) / posterior.mode().std((0, 2, 3))
    torch.testing.assert_close(posterior.std, first.std / scale[:, None, None], atol=1e-4, rtol=1e-4)


def test_psnr_closed_form() -> None:
    flat = torch.zeros(1, 3, 4, 4)
    assert psnr_per_picture(flat, flat + 0.2).item() == pytest.approx(20.0, abs=1e-4)  # a tenth of the range


def test_the_decoder_recipe_keeps_latents() -> None:
    task = build_task("decoder")
    assert isinstance(task, VAETask)
    trained = {name.split(".")[0] for name, p in task.vae.named_parameters() if p.requires_grad}
    assert trained == {"decoder", "post_quant_conv"}
