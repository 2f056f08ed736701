"""The recipes of the nano models: tokenizer, latents, losses and the layout that users load."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPModel

from mappers.draws import Draws
from mappers.hub import resolve
from mappers.trainer import FitReport
from pipelines.nano import train, world
from pipelines.nano.recipes.clip import CLIPTask, tokens_of
from pipelines.nano.recipes.diffusion import DiffusionTask, build_scheduler
from pipelines.nano.recipes.vae import VAETask, build_vae, pictures_of, psnr_per_picture, standardize_latents
from pipelines.nano.train import build_task, shared_tokenizer


def test_tokenizer_knows_the_words_of_the_world_and_any_other() -> None:
    tokenizer = shared_tokenizer()
    for words in (world.COLORS, world.SUBSET, ("beach", "snow", "stripes", "watercolor", "two")):
        for word in " ".join(words).split():
            assert len(tokenizer.tokenize(word)) == 1, word
    assert tokenizer.unk_token_id not in tokenizer("zyx Ünïcödé 漢字!", add_special_tokens=False).input_ids
    ids = tokenizer("a red cat", padding="max_length").input_ids
    assert (ids[0], ids[4], len(ids)) == (tokenizer.bos_token_id, tokenizer.eos_token_id, 24)


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
    torch.testing.assert_close(posterior.mode().mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    variance = posterior.mode().var((0, 2, 3)) + posterior.var.mean((0, 2, 3))
    torch.testing.assert_close(variance, torch.ones(4), atol=1e-4, rtol=0)
    scale = first.mode().std((0, 2, 3)) / posterior.mode().std((0, 2, 3))
    torch.testing.assert_close(posterior.std, first.std / scale[:, None, None], atol=1e-4, rtol=1e-4)


def test_psnr_closed_form() -> None:
    flat = torch.zeros(1, 3, 4, 4)
    assert psnr_per_picture(flat, flat + 0.2).item() == pytest.approx(20.0, abs=1e-4)  # a tenth of the range


def test_the_last_signal_is_small_but_not_zero() -> None:
    last = build_scheduler().alphas_cumprod[-1].sqrt().item()
    assert 0.01 < last < 0.06


def test_the_decoder_recipe_keeps_latents() -> None:
    task = build_task("decoder")
    assert isinstance(task, VAETask)
    trained = {name.split(".")[0] for name, p in task.vae.named_parameters() if p.requires_grad}
    assert trained == {"decoder", "post_quant_conv"}


def test_clip_loss_of_a_fresh_model_is_that_of_chance() -> None:
    torch.manual_seed(0)
    task = build_task("clip")
    assert isinstance(task, CLIPTask)
    draws = Draws(0, 0, range(8))
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws), draws)
    assert losses["contrastive"].item() == pytest.approx(torch.tensor(8.0).log().item(), abs=0.5)
    assert losses["naming"].item() == pytest.approx(torch.tensor(350.0).log().item(), abs=0.5)


def test_every_other_group_of_the_contrastive_batch_differs_in_objects_only() -> None:
    task = build_task("clip")
    assert isinstance(task, CLIPTask)
    draws = Draws(0, 3, range(32))
    scenes = task.scenes(draws, [draws.numpy(i) for i in range(32)])
    surroundings = [(s.place, s.color, s.tint, s.style, s.count) for s in scenes]
    assert [len(set(surroundings[i : i + 8])) == 1 for i in (0, 8, 16, 24)] == [False, True, False, True]
    assert len({scene.object for scene in scenes}) > 28
    # A process that holds the second half of the batch draws the same scenes.
    half = Draws(0, 3, range(16, 32))
    assert task.scenes(half, [half.numpy(i) for i in range(16)]) == scenes[16:]


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
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch[0]
    torch.testing.assert_close(loss, velocity.square().mean(), atol=1e-5, rtol=1e-4)


def test_the_denoiser_learns_from_calm_poses_half_of_them_named_and_centred() -> None:
    task = build_task("diffusion")
    assert isinstance(task, DiffusionTask)
    draws = Draws(0, 0, range(600))
    sampled = [task.sample(draws.numpy(i)) for i in range(600)]
    scenes = [scene for scene, _ in sampled]
    assert not any(scene.flip or abs(scene.tilt) > 5 for scene in scenes)
    centred = [(scene, caption) for scene, caption in sampled if (scene.x, scene.y) == (0.5, 0.5)]
    assert len(centred) == pytest.approx(300, abs=50)
    assert all(scene.place == "plain" and scene.count == 1 and scene.style is None for scene, _ in centred)
    named = [caption for scene, caption in centred if scene.object in caption]
    assert len(named) == pytest.approx(0.9 * len(centred), abs=25)
    assert len({scene.object for scene, _ in centred}) > 100


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


@pytest.mark.parametrize("part", ["clip", "diffusion"])
def test_export_writes_what_loads_again(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build_task(part, shipped=True)
    shipped = {path.name for path in Path(resolve("nano-clip", "CLIP")).iterdir()} - {"LICENSE"}
    tokenizer = shared_tokenizer()
    monkeypatch.setattr(train, "shared_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(train, "TEXT_TO_IMAGE", tmp_path / "t2i")
    monkeypatch.setattr(train, "CLIP", tmp_path / "clip")
    train.export(task, FitReport())
    if part == "clip":
        assert {path.name for path in (tmp_path / "clip").iterdir()} == shipped
        assert CLIPModel.from_pretrained(tmp_path / "clip").dtype == torch.float32
        written = json.loads((tmp_path / "clip" / "tokenizer_config.json").read_text())
        assert written == json.loads(Path(resolve("nano-clip", "CLIP"), "tokenizer_config.json").read_text())
        return
    assert (tmp_path / "t2i" / "model_index.json").is_file()
    for name in ("unet", "text_encoder"):
        config = json.loads((tmp_path / "t2i" / name / "config.json").read_text())
        assert "_name_or_path" not in config
    assert (tmp_path / "t2i" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == Path(
        resolve("nano", "text-to-image"), "unet", "diffusion_pytorch_model.safetensors"
    ).read_bytes()


def test_the_content_hash_of_nano_clip_is_on_its_card() -> None:
    digest = hashlib.sha256(Path(resolve("nano-clip", "CLIP"), "model.safetensors").read_bytes()).hexdigest()
    assert digest in (Path(__file__).parents[3] / "docs" / "nano.md").read_text(encoding="utf-8")


def test_nano_clip_prefers_the_caption_of_the_picture() -> None:
    """Surroundings and tints that its pictures have against ones that they do not."""
    clip = CLIPModel.from_pretrained(resolve("nano-clip", "CLIP")).eval()
    tokenizer = shared_tokenizer()
    scenes = world.scenes_of(world.SUBSET[:32], seed=8, style=None, count=1)
    captions = [f"a photo of {world.subject(s.object, s.tint)} {world.where(s.place, s.color)}" for s in scenes]
    with torch.no_grad():
        logits = clip(input_ids=tokens_of(tokenizer, captions), pixel_values=pictures_of(scenes)).logits_per_image
    assert (logits.argmax(1) == torch.arange(32)).float().mean() > 0.6


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
