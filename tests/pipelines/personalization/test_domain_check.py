"""Whether nano knows pictures: its own world passes, a photograph is warned of, other models are not asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from matplotlib.cbook import get_sample_data
from PIL import Image

from mappers.hub import resolve
from pipelines import personalize
from pipelines.images import load_images, square
from pipelines.nano import world
from pipelines.personalization.domain_check import unexplained_variance, warn_if_out_of_domain


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(resolve("nano", "text-to-image"), subfolder="vae").eval()


def pixels(pictures: list[Image.Image]) -> torch.Tensor:
    rows = np.stack([np.asarray(square(picture, 64)) for picture in pictures])
    return torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 127.5 - 1


def photo() -> list[Image.Image]:
    """Hair, medals and a flag: two parts of a portrait."""
    (portrait,) = load_images([str(get_sample_data("grace_hopper.jpg", asfileobj=False))])
    return [portrait.crop((100, 0, 400, 300)), portrait.crop((200, 300, 500, 600))]


def test_a_photograph_is_warned_of(vae: AutoencoderKL, caplog: pytest.LogCaptureFixture) -> None:
    warn_if_out_of_domain(vae, pixels(photo()))
    assert "far from what nano knows" in caplog.text
    assert "give model=" in caplog.text


@pytest.mark.parametrize("name", ["cactus", "bus"])
def test_the_held_out_world_is_known(vae: AutoencoderKL, name: str, caplog: pytest.LogCaptureFixture) -> None:
    warn_if_out_of_domain(vae, pixels(world.render_all(world.reference_scenes(name, 4, seed=0))))
    assert not caplog.text


def test_the_share_does_not_depend_on_other_pictures(vae: AutoencoderKL) -> None:
    """One flat picture among others has no variance to divide by."""
    pictures = torch.cat([pixels(photo()), torch.zeros(1, 3, 64, 64)])
    together = unexplained_variance(vae, pictures)
    torch.testing.assert_close(together[1:2], unexplained_variance(vae, pictures[1:2]))
    kept = vae.decode(vae.encode(pictures[:1]).latent_dist.mean).sample.clamp(-1, 1)
    deviations = (pictures[0] - pictures[0].mean((1, 2), keepdim=True)).square().mean() * 4096 / 4095
    torch.testing.assert_close(together[0], (kept[0] - pictures[0]).square().mean() / deviations)
    assert together.isfinite().all()


def test_nano_alone_is_asked(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.personalization.domain_check.LIMIT", -1.0)
    personalize(photo(), "<thing>", model=tiny_model, steps=1)
    assert "far from" not in caplog.text
    with pytest.raises(ValueError, match="the mask of picture 1 of <thing> is black"):  # before it learns
        personalize(photo(), "<thing>", masks=[Image.new("L", (300, 300))] * 2)
    assert "far from" in caplog.text
