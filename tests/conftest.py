"""Fixtures: tiny random models in the exact layouts of Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from pipelines.nano.tokenizer import END, START, train_tokenizer
from pipelines.neti_pipeline import NeTIPipeline

WORDS = "a photo picture of the one on in red blue object toy cat beach snow night sky two"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen cross-attentions in 6 + 1 + 9, four resolutions, PNDM, noise prediction; 32 px pictures."""
    return build_tiny(tmp_path_factory.mktemp("tiny-sd1"))


@pytest.fixture(scope="session")
def tiny_sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Stable Diffusion 2: a wider OpenCLIP text encoder, linear projections, velocity prediction."""
    return build_tiny(
        tmp_path_factory.mktemp("tiny-sd2"),
        text={"hidden_size": 24, "hidden_act": "gelu"},
        unet={"cross_attention_dim": 24, "use_linear_projection": True, "attention_head_dim": [1, 1, 2, 2]},
        prediction_type="v_prediction",
    )


def build_tiny(
    folder: Path, text: dict[str, Any] | None = None, unet: dict[str, Any] | None = None, **schedule: Any
) -> Path:
    """Write a tiny random model to ``folder``, with some settings changed."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([WORDS] * 3, merges=120)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            **{"hidden_size": 16} | (text or {}), vocab_size=len(tokenizer), intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.convert_tokens_to_ids(START), eos_token_id=tokenizer.convert_tokens_to_ids(END),
            pad_token_id=tokenizer.convert_tokens_to_ids(END),
        )
    )  # fmt: skip
    denoiser = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8, 16, 16), layers_per_block=2, norm_num_groups=4,
        **{"cross_attention_dim": 16, "attention_head_dim": 2} | (unet or {}),
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8), norm_num_groups=4, sample_size=32,
    )  # fmt: skip
    # At their start text encoders hardly react to their input; larger weights make differences visible.
    with torch.no_grad():
        text_encoder.get_input_embeddings().weight.mul_(20)
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        **schedule,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=denoiser, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def pipeline(tiny_model: Path) -> NeTIPipeline:
    loaded = NeTIPipeline.from_model(tiny_model, device="cpu")
    loaded.set_progress_bar_config(disable=True)
    return loaded
