"""AudioLDM 2 and Stable Audio on tiny random folders in their layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    AutoencoderOobleck,
    DDIMScheduler,
    EDMDPMSolverMultistepScheduler,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from transformers import (
    ClapFeatureExtractor,
    ClapModel,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from pipelines.audio.audioldm2 import AudioLDM2Backend
from pipelines.audio.backends import BackendOptions
from pipelines.audio.clap import Clap, clap_space
from pipelines.audio.generation import Sonifier, vision_to_audio
from pipelines.audio.loading import load_backend
from pipelines.audio.settings import SoundConfig
from pipelines.audio.stable_audio import StableAudioBackend

WIDTH = 16


def tiny_t5(folder: Path) -> tuple[T5EncoderModel, T5Tokenizer]:
    letters = [(piece, -1.0) for piece in ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,"]]
    tokenizer = T5Tokenizer(vocab=letters, extra_ids=0, model_max_length=12)
    config = T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval(), tokenizer


@pytest.fixture(scope="module")
def audioldm2(folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-audioldm2")
    text_encoder_2, tokenizer_2 = tiny_t5(folder)
    unet = AudioLDM2UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=((None, 16, 16), (None, 16, 16)), norm_num_groups=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(4, 8, 8), latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    vocoder = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=16, sampling_rate=16000, upsample_initial_channel=64, upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )  # fmt: skip
    with torch.no_grad():
        for weight in vocoder.parameters():
            weight.mul_(12)
    language = GPT2Config(
        n_embd=16, n_layer=1, n_head=2, vocab_size=50, n_positions=40, bos_token_id=0, eos_token_id=0, max_new_tokens=8
    )
    AudioLDM2Pipeline(
        vae=vae,
        text_encoder=ClapModel.from_pretrained(folders.clap),
        text_encoder_2=text_encoder_2,
        projection_model=AudioLDM2ProjectionModel(text_encoder_dim=WIDTH, text_encoder_1_dim=16, langauge_model_dim=16),
        language_model=GPT2LMHeadModel(language),
        tokenizer=RobertaTokenizer.from_pretrained(folders.clap),
        tokenizer_2=tokenizer_2,
        feature_extractor=ClapFeatureExtractor.from_pretrained(folders.clap),
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        vocoder=vocoder,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def stable_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-stable-audio")
    text_encoder, tokenizer = tiny_t5(folder)
    StableAudioPipeline(
        vae=AutoencoderOobleck(
            encoder_hidden_size=6, downsampling_ratios=[4, 5], decoder_channels=3, decoder_input_channels=3,
            audio_channels=2, channel_multiples=[2, 4], sampling_rate=4000,
        ),
        text_encoder=text_encoder,
        projection_model=StableAudioProjectionModel(16, 16, 0, 32),
        tokenizer=tokenizer,
        transformer=StableAudioDiTModel(
            sample_size=100, in_channels=3, num_layers=1, attention_head_dim=8, num_attention_heads=2,
            num_key_value_attention_heads=2, out_channels=3, cross_attention_dim=16, time_proj_dim=8,
            global_states_input_dim=32, cross_attention_input_dim=16,
        ),
        scheduler=EDMDPMSolverMultistepScheduler(),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def embeds(*seeds: int) -> torch.Tensor:
    rows = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_audioldm2_hears_a_text_s_own_embedding_as_its_pipeline_does(audioldm2: Path) -> None:
    backend = load_backend(audioldm2)
    assert isinstance(backend, AudioLDM2Backend)
    theirs = backend.pipeline
    text = backend.encode_prompt(["a bell"])
    expected, _, generated = theirs.encode_prompt("a bell", "cpu", 1, False)
    condition = theirs.projection_model(
        hidden_states=text[:, None], hidden_states_1=expected, attention_mask=torch.ones(1, 1, dtype=torch.long),
        attention_mask_1=torch.ones(expected.shape[:2], dtype=torch.long),
    )  # fmt: skip
    made = theirs.generate_language_model(condition.hidden_states, attention_mask=condition.attention_mask)
    torch.testing.assert_close(made, generated)
    states, _, ours = backend._condition(text, "a bell")
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(ours, generated)
    assert generated.shape == (1, 8, 16)


def test_audioldm2_makes_different_sounds_of_different_embeddings(audioldm2: Path, folders: Any) -> None:
    backend = load_backend(audioldm2)
    backend.pipeline.set_progress_bar_config(disable=True)  # pyright: ignore
    assert backend.space_id == clap_space(ClapModel.from_pretrained(folders.clap))

    def options(*seeds: int, **given: Any) -> BackendOptions:
        return BackendOptions(seconds=0.31, num_inference_steps=2, generator=generators(*seeds), **given)

    both = backend.generate(embeds(0, 1), options(0, 0))
    assert both.shape == (2, 4_960)
    assert (both[0] - both[1]).abs().max() > 1e-6
    alone = backend.generate(embeds(1), options(0))
    torch.testing.assert_close(alone[0], both[1], atol=1e-5, rtol=0)
    away = backend.generate(embeds(1), options(0, negative_prompt="a dog"))
    assert (away - alone).abs().max() > 1e-7
    with pytest.raises(ValueError, match="one embedding for each sound"):
        backend.generate(embeds(0, 1)[None], BackendOptions(seconds=0.3))


def test_stable_audio_reads_the_nearest_tags(stable_audio: Path, folders: Any) -> None:
    clap = Clap.from_folder(folders.clap)
    backend = load_backend(stable_audio, clap=clap)
    assert isinstance(backend, StableAudioBackend)
    backend.pipeline.set_progress_bar_config(disable=True)
    backend.tag_embeds = embeds(*range(len(backend.tags)))  # the tiny tokenizer cuts most tags to the same few letters
    texts = backend.describe(backend.tag_embeds[[3, 70]])
    assert [words.split(", ")[0] for words in texts] == [backend.tags[3], backend.tags[70]]
    assert all(len(words.split(", ")) == 2 for words in texts)
    assert len(set(backend.tags)) == len(backend.tags)
    waves, again = (
        backend.generate(embeds(0, 1), BackendOptions(seconds=0.25, num_inference_steps=2, generator=generators(0, 1)))
        for _ in range(2)
    )
    assert waves.shape == (2, 1_000)
    assert torch.isfinite(waves).all()
    torch.testing.assert_close(waves, again)
    with pytest.raises(ValueError, match=r"makes at most 0.50 seconds, got 9"):
        backend.generate(embeds(0), BackendOptions(seconds=9))


@pytest.mark.parametrize("layout", ["audioldm2", "stable_audio"])
def test_pictures_sound_through_every_layout(layout: str, folders: Any, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    parts = {**folders.parts, "model": folder}
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    sounds = vision_to_audio(picture, duration=0.25, candidates=2, inference_steps=2, mapper_steps=2, **parts)
    assert sounds.audios.shape == (2, round(0.25 * sounds.sampling_rate))
    assert np.isfinite(sounds.audios).all()
    sonifier = Sonifier.load(**parts)
    assert sonifier.backend.space_id == sonifier.vision_encoder.mapper.config.target_space
    sonifier.backend.space_id = "f" * 16
    with pytest.raises(ValueError, match="target model .* but the one in use is ffffffffffffffff"):
        Sonifier(sonifier.backend, sonifier.vision_encoder)
    with pytest.raises(ValueError, match="stable|Stable|picture has no time"):
        sonifier(picture, config=SoundConfig(window=1.0))


def test_what_is_no_generator_is_refused(tiny_model: Path, stable_audio: Path) -> None:
    with pytest.raises(ValueError, match="holds a StableDiffusionPipeline; audio generators are"):
        load_backend(tiny_model)
    with pytest.raises(ValueError, match="Stable Audio reads text only; give clap="):
        load_backend(stable_audio)
