"""Tiny random models in the layouts of AudioLDM, CLIP and CLAP, and mappers between them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AudioLDMPipeline, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    ClapTextModelWithProjection,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.embedding_cache import space_id
from mappers.v2a import RegressionMapper
from pipelines.audio.clap import clap_space
from pipelines.personalization import task as neti_task

WIDTH = 16
"""Of the tiny CLAP's embeddings."""
SEEN = 12
"""Of the tiny CLIP's."""


@dataclass(frozen=True)
class AudioFolders:
    """Folders of models that belong together."""

    model: Path
    """AudioLDM's layout: five parts and no picture tower."""
    clip: Path
    clap: Path
    prior: Path
    regression: Path

    @property
    def parts(self) -> dict[str, Path]:
        """What `vision_to_audio` takes."""
        return {"model": self.model, "clip": self.clip, "mapper": self.prior, "regression_mapper": self.regression,
                "clap": self.clap}  # fmt: skip


def quietly(make: Callable[[], AudioLDMPipeline]) -> AudioLDMPipeline:
    """diffusers' own pipeline, which says at every turn that it is no longer cared for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_text_config(words: int) -> ClapTextConfig:
    return ClapTextConfig(
        vocab_size=words, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        projection_dim=WIDTH, max_position_embeddings=WIDTH + 4, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip


def tiny_tokenizer(folder: Path) -> RobertaTokenizer:
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=WIDTH)


def tiny_clap(seed: int = 0) -> ClapModel:
    torch.manual_seed(seed)
    config = ClapConfig(
        text_config=tiny_text_config(32).to_dict(),
        audio_config={
            "spec_size": 32, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "window_size": 4,
            "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2], "hidden_size": 16,
            "num_hidden_layers": 2,
        },
        projection_dim=WIDTH,
    )  # fmt: skip
    return ClapModel(config).eval()


def tiny_extractor() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(
        feature_size=16, sampling_rate=16000, hop_length=260, max_length_s=1, fft_window_size=512, frequency_min=0,
        frequency_max=8000, truncation="rand_trunc", padding="repeatpad",
    )  # fmt: skip


def tiny_parts() -> tuple[AutoencoderKL, UNet2DConditionModel, DDIMScheduler, SpeechT5HifiGan]:
    """AudioLDM's parts but for CLAP: 64 frames of 16 bins, 0.64 seconds."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16), norm_num_groups=4, class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH, class_embeddings_concat=True,
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(4, 8, 8), latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, scaling_factor=0.6,
    )  # fmt: skip
    vocoder = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=16, sampling_rate=16000, upsample_initial_channel=64, upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    # Fresh vocoders are all but silent; louder ones make differences audible.
    with torch.no_grad():
        for weight in vocoder.parameters():
            weight.mul_(12)
    return vae, unet, scheduler, vocoder


def tiny_image_encoder() -> CLIPVisionModelWithProjection:
    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=SEEN,
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config).eval()


def tiny_image_processor() -> CLIPImageProcessor:
    size = {"height": 16, "width": 16}
    return CLIPImageProcessor(size=size, crop_size=size)


@pytest.fixture(autouse=True)
def few_sample_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen samples of every learned word would take longer than learning it."""
    monkeypatch.setattr(neti_task, "SAMPLE_STEPS", 3)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> AudioFolders:
    root = tmp_path_factory.mktemp("tiny-audio")
    found = AudioFolders(*(root / name for name in ("audioldm", "clip", "clap", "prior", "regression")))
    tokenizer, clap, image_encoder = tiny_tokenizer(root), tiny_clap(), tiny_image_encoder()
    text_encoder = ClapTextModelWithProjection(clap.config.text_config)
    text_encoder.text_model, text_encoder.text_projection = clap.text_model, clap.text_projection
    vae, unet, scheduler, vocoder = tiny_parts()
    quietly(lambda: AudioLDMPipeline(vae, text_encoder, tokenizer, unet, scheduler, vocoder)).save_pretrained(
        found.model
    )
    for part in (image_encoder, tiny_image_processor()):
        part.save_pretrained(found.clip)
    for part in (clap, tiny_extractor(), tokenizer):
        part.save_pretrained(found.clap)
    spaces = {"source_space": space_id(image_encoder), "target_space": clap_space(clap)}
    torch.manual_seed(0)
    prior = DiffusionPriorMapper(SEEN, WIDTH, depth=1, heads=2, head_width=8, null_tokens=1, **spaces)
    prior.save_pretrained(found.prior)
    RegressionMapper(SEEN, WIDTH, **spaces).save_pretrained(found.regression)
    return found


@pytest.fixture(scope="session")
def audioldm(folders: AudioFolders) -> Path:
    return folders.model


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)
