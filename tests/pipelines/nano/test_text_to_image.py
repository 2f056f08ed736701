"""nano as it ships: it loads with plain diffusers, reconstructs held-out objects and follows prompts."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from mappers.hub import resolve
from pipelines.nano import world
from pipelines.nano.recipes.vae import pictures_of, psnr_per_picture


def test_the_shipped_model_loads_with_plain_diffusers_and_reconstructs() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(resolve("nano", "text-to-image"))
    assert {m.dtype for m in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    held_out = [info.name for info in world.objects("held-out")]
    pictures = pictures_of(world.scenes_of(held_out, seed=5))
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(pictures).latent_dist.mode()).sample
    assert psnr_per_picture(decoded, pictures).mean() > 27.5


def test_shipped_configurations_name_no_folder_and_share_one_tokenizer() -> None:
    folders = [Path(resolve("nano", "text-to-image")), Path(resolve("nano-clip", "CLIP"))]
    for path in (path for folder in folders for path in folder.rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        assert "_name_or_path" not in text, path
        assert str(Path.home()) not in text, path
    first, second = (folders[0] / "tokenizer" / "tokenizer.json", folders[1] / "tokenizer.json")
    assert first.read_bytes() == second.read_bytes()


def test_the_shipped_model_obeys_the_ground(tmp_path: Path) -> None:
    """Corners of pictures on a plain ground have the colour that the prompt names."""
    pipeline = StableDiffusionPipeline.from_pretrained(resolve("nano", "text-to-image"))
    pipeline.set_progress_bar_config(disable=True)
    colors = ["red", "blue", "green", "yellow"]
    pictures = pipeline(
        [f"a photo of a cat on a {color} ground" for color in colors],
        num_inference_steps=10, guidance_scale=4.0, output_type="pt", generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    corners = torch.cat([pictures[:, :, :6, :6], pictures[:, :, :6, -6:]], dim=-1).mean((2, 3))
    truth = pictures_of([world.Scene(object="cat", place="plain", color=color) for color in colors])
    truth = (torch.cat([truth[:, :, :6, :6], truth[:, :, :6, -6:]], dim=-1).mean((2, 3)) + 1) / 2
    assert torch.equal(torch.cdist(corners.float(), truth).argmin(1), torch.arange(4))
