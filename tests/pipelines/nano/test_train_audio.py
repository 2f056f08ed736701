"""The recipes of the nano audio models on a handful of clips: losses in closed form, and the layout users load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ClapModel, ClapProcessor, ClapTextModelWithProjection, CLIPVisionModelWithProjection

from mappers.draws import Draws
from mappers.embedding_cache import space_id
from pipelines.audio.clap import Clap, clap_space
from pipelines.audio.pipeline import VisionToAudioPipeline
from pipelines.nano import train_audio
from pipelines.nano.recipes.audio_clip import AudioCLIPTask
from pipelines.nano.recipes.audio_mappers import views_of
from pipelines.nano.recipes.audio_unet import AudioDiffusionTask
from pipelines.nano.recipes.clap import (
    CLAPTask,
    build_extractor,
    embed_clips,
    features_of,
    multi_positive_loss,
    train_text_tokenizer,
)
from pipelines.nano.recipes.mel_vae import LATENT_SHAPE, MelVAETask, mels_of, spectrogram_grid
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips, all_captions


@pytest.fixture(scope="module")
def clips() -> Clips:
    return Clips(None, 32, 11)


def draws(count: int) -> Draws:
    return Draws(0, 0, range(count))


def test_every_caption_of_a_sound_has_its_tokens_and_any_text_can_be_said() -> None:
    tokenizer = train_text_tokenizer()
    assert max(len(tokenizer(text).input_ids) for text in all_captions()) <= 16
    assert tokenizer.unk_token_id not in tokenizer("zyx Ünïcödé 漢字!").input_ids
    assert tokenizer.decode(tokenizer("a bell").input_ids, skip_special_tokens=True) == "a bell"


def test_spectrograms_fill_the_audio_tower_exactly(clips: Clips) -> None:
    extractor = build_extractor()
    features = features_of(extractor, clips.waves(slice(0, 2)))
    assert features.shape == (2, 1, 256, 64)
    short = features_of(extractor, clips.waves(slice(0, 2))[:, :8000])
    assert short.shape == (2, 1, 256, 64)
    assert torch.equal(features, features_of(extractor, clips.waves(slice(0, 2))))
    with pytest.raises(ValueError, match="sampling rate"):
        extractor(np.zeros(100), sampling_rate=48_000)


def test_matching_loss_spreads_over_all_that_fits() -> None:
    fits = torch.tensor([[True, True, False], [False, True, False], [True, False, True]])
    assert multi_positive_loss(torch.zeros(3, 3), fits).item() == pytest.approx(np.log(3))
    sure = torch.where(fits, 50.0, -50.0)
    assert multi_positive_loss(sure, fits).item() == pytest.approx((np.log(2) + 0 + np.log(2)) / 3, abs=1e-5)


def test_clap_loss_of_a_fresh_model_is_that_of_chance(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("clap", clips, clips)
    assert isinstance(task, CLAPTask)
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws(16)), draws(16))
    assert losses["contrastive"].item() == pytest.approx(np.log(16), abs=0.5)
    assert losses["naming"].item() == pytest.approx(np.log(32), abs=0.5)
    found = task.validate(task.modules, 0)
    assert 0 <= found["named"] <= 1


def test_clap_takes_every_true_caption_for_right(clips: Clips) -> None:
    task = build_task("clap", clips, clips)
    assert isinstance(task, CLAPTask)
    batch = task.batch(draws(24))
    assert batch["fits"].diagonal().all()
    assert batch["fits"].sum() > 24  # loose captions and objects that come twice
    same = batch["ways"][:, None] // 2 == batch["ways"] // 2
    empty = batch["tokens"]["attention_mask"].sum(1) == 2
    assert not (batch["fits"] & ~same)[:, ~empty].any()


def test_a_fresh_autoencoder_says_the_usual_loudness_and_keeps_the_shape(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("mel-vae", clips, clips)
    assert isinstance(task, MelVAETask)
    mels = mels_of(clips.waves(slice(0, 2)))
    assert mels.shape == (2, 1, 256, 64)
    with torch.no_grad():
        posterior = task.vae.encode(mels).latent_dist
        assert posterior.mean.shape[1:] == LATENT_SHAPE
        assert task.vae.decode(posterior.mean).sample.mean().item() == pytest.approx(-7, abs=2)
        found = task.validate(task.modules, 0)
    assert found["reconstructions"].size == (4 * 258, 4 * 66)


def test_spectrogram_pictures_have_low_tones_at_the_bottom_and_time_to_the_right() -> None:
    mel = torch.full((1, 10, 6), -12.0)
    mel[0, 8, 1] = 3.0
    pixels = np.asarray(spectrogram_grid(mel, 1))
    assert pixels.shape == (8, 12)
    assert np.argwhere(pixels == 255).tolist() == [[1 + 4, 1 + 8]]


def test_audio_clip_starts_as_nano_clip_with_a_head_that_names_by_chance(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("clip", clips, clips)
    assert isinstance(task, AudioCLIPTask)
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws(16)), draws(16))
    assert losses["contrastive"].item() < 0.6 * np.log(16)
    assert losses["naming"].item() == pytest.approx(np.log(16), abs=0.5)


def test_views_show_the_same_thing_elsewhere(clips: Clips) -> None:
    views = views_of(clips.moments[:8], 3)
    assert views[::3] == clips.moments[:8]
    for first in range(0, 24, 3):
        assert len({(v.factors, v.sound_class, v.seed) for v in views[first : first + 3]}) == 1
        assert len({v.scene.seed for v in views[first : first + 3]}) == 3


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


@pytest.mark.parametrize("part", ["prior", "regression"])
def test_mappers_record_their_spaces(part: str, clips: Clips) -> None:
    task = build_task(part, clips, clips)
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(train_audio.VISION_TO_AUDIO / "image_encoder")
    text_encoder = ClapTextModelWithProjection.from_pretrained(train_audio.VISION_TO_AUDIO / "text_encoder")
    task.mapper.check_spaces(space_id(image_encoder), clap_space(text_encoder))
    with pytest.raises(ValueError, match="trained with the target model"):
        task.mapper.check_spaces(space_id(image_encoder), "another")
    assert task.train.condition.shape == (2 * len(clips), 128)
    assert task.train.index[:5, 1].tolist() == [0, 0, 1, 1, 2]


def test_export_writes_what_loads_again(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    tasks = {part: build_task(part, clips, clips) for part in train_audio.RECIPES}
    monkeypatch.setattr(train_audio, "VISION_TO_AUDIO", tmp_path / "v2a")
    monkeypatch.setattr(train_audio, "CLAP", tmp_path / "clap")
    for task in tasks.values():
        train_audio.export(task)
    train_audio.write_index(tmp_path / "v2a")
    pipeline = VisionToAudioPipeline.from_pretrained(tmp_path / "v2a")
    assert {part.dtype for part in pipeline.components.values() if isinstance(part, torch.nn.Module)} == {torch.float32}
    shipped = {
        p.relative_to(train_audio.HERE / "vision_to_audio")
        for p in Path(train_audio.HERE / "vision_to_audio").rglob("*")
    }
    written = {p.relative_to(tmp_path / "v2a") for p in (tmp_path / "v2a").rglob("*")}
    assert written == shipped - {Path("LICENSE")}
    clap, processor = ClapModel.from_pretrained(tmp_path / "clap"), ClapProcessor.from_pretrained(tmp_path / "clap")
    assert clap.dtype == torch.float32
    inputs = processor(text=["a bell"], audio=clips.waves(0).numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        output = clap.eval()(**inputs)
    torch.testing.assert_close(output.audio_embeds, embed_clips(Clap.from_folder(tmp_path / "clap"), clips)[:1])
    torch.testing.assert_close(output.text_embeds, pipeline.encode_prompt(["a bell"]), atol=1e-5, rtol=1e-4)
    for path in tmp_path.rglob("*config.json"):
        text = path.read_text(encoding="utf-8")
        assert "_name_or_path" not in json.loads(text), path
        assert str(tmp_path) not in text
