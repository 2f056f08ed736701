"""Pipelines with tiny random diffusion transformers, in the exact layouts of the published models, and their sites."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    WanPipeline,
    WanTransformer3DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from pipelines.nano.recipes.tokenizer import train_tokenizer
from pipelines.plugging.conventions import CONVENTIONS

from .conftest import quiet

WORDS = "a photo picture of the one on in red blue object toy cat beach snow night sky two and"
LLM = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
TEMPLATES = {
    "words": "{% for m in messages %}user : {{ m['content'] }} {% endfor %}assistant :",
    "parts": "{% for m in messages %}{{ m['role'] }} : {{ m['content'][0]['text'] }} {% endfor %}",
}
"""Chat templates, of messages that are text, and of such that are lists of parts."""


def word_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """One token a word, with an end mark as T5 has, or with a chat template."""
    words = ["<pad>", "</s>", "<unk>", "<s>", *WORDS.split(), "user", "assistant", ":"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if template is None:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    if template is not None:
        tokenizer.chat_template = TEMPLATES[template]
    return tokenizer


@functools.cache
def clip_tokenizer() -> CLIPTokenizer:
    return train_tokenizer([WORDS] * 3, merges=120)


def t5(config: Any = T5Config, model: Any = T5EncoderModel) -> Any:
    made = config(
        vocab_size=64, d_model=24, d_kv=4, d_ff=24, num_layers=2, num_heads=2, is_encoder_decoder=False,
        is_decoder=False, use_cache=False,
    )  # fmt: skip
    return model(made)


def clip_config(width: int) -> CLIPTextConfig:
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=24, projection_dim=width, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip


def autoencoder(channels: int = 4, **options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4,
        block_out_channels=(4, 4), sample_size=32, latent_channels=channels, **options,
    )  # fmt: skip


def enlivened(net: torch.nn.Module) -> Any:
    """Fresh transformers answer zero, or hardly look at text."""
    for name, weight in net.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight.data, 0, 0.1 if "norm" in name else 0.6 / weight.shape[-1] ** 0.5)
    return net


def flow() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler()


def stable_diffusion_3(dual: tuple[int, ...] = (0,)) -> StableDiffusion3Pipeline:
    """Two CLIP encoders and T5; joint attention, of which the last block projects no text on.

    Layers ``dual`` have a second attention that reads no text, as those of version 3.5 do.
    """
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=24, caption_projection_dim=16, pooled_projection_dim=20, out_channels=4,
        dual_attention_layers=dual,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=autoencoder(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=CLIPTextModelWithProjection(clip_config(8)), tokenizer=clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(12)), tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(), tokenizer_3=word_tokenizer(),
    )  # fmt: skip


def flux() -> FluxPipeline:
    """T5 in the rows, CLIP's pooled embedding alone; joint attention, then one sequence with the text first."""
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=24, pooled_projection_dim=8, axes_dims_rope=[2, 2, 4], guidance_embeds=False,
    )  # fmt: skip
    return FluxPipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=autoencoder(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=CLIPTextModel(clip_config(8)), tokenizer=clip_tokenizer(), text_encoder_2=t5(),
        tokenizer_2=word_tokenizer(),
    )  # fmt: skip


def flux_2() -> Flux2Pipeline:
    """Three layers of the text encoder side by side in a row; projections in one with the feed-forward part."""
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, timestep_guidance_channels=16, axes_dims_rope=[2, 2, 2, 2],
    )  # fmt: skip
    config = Mistral3Config(
        text_config={**LLM, "model_type": "mistral", "num_hidden_layers": 2, "vocab_size": 64, "head_dim": 8},
        vision_config={
            "model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "image_size": 16, "patch_size": 8, "num_channels": 3,
        },
        image_token_index=60,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4,
        block_out_channels=(4, 4), sample_size=32, latent_channels=4, layers_per_block=1,
    )  # fmt: skip
    pipe = Flux2Pipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=vae,
        text_encoder=Mistral3ForConditionalGeneration(config), tokenizer=word_tokenizer("parts"),
    )  # fmt: skip
    pipe.system_message = "a picture of the"
    return pipe


def qwen_image() -> QwenImagePipeline:
    """A vision-language model, the first 34 tokens of a template dropped; joint attention."""
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={
            **LLM, "num_hidden_layers": 2, "vocab_size": 64,
            "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2]},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        image_token_id=60, video_token_id=61, vision_start_token_id=62, vision_end_token_id=63,
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )  # fmt: skip
    return QwenImagePipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(config), tokenizer=word_tokenizer(),
    )  # fmt: skip


def z_image() -> ZImagePipeline:
    """Qwen 3 with a chat template; one sequence, the text after the picture."""
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=16, n_layers=2, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, norm_eps=1e-5, qk_norm=True, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0,
        axes_dims=[4, 2, 2], axes_lens=[256, 64, 64],
    )  # fmt: skip
    encoder = Qwen3Model(Qwen3Config(**LLM, vocab_size=64, num_hidden_layers=2, head_dim=8))
    return ZImagePipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=autoencoder(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=encoder, tokenizer=word_tokenizer("words"),
    )  # fmt: skip


def pixart() -> PixArtAlphaPipeline:
    """T5 with a mask; cross-attention; noise prediction."""
    transformer = PixArtTransformer2DModel(
        sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, caption_channels=24,
        in_channels=4, cross_attention_dim=16, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    return PixArtAlphaPipeline(
        transformer=enlivened(transformer), scheduler=DDIMScheduler(), vae=autoencoder(), text_encoder=t5(),
        tokenizer=word_tokenizer(),
    )  # fmt: skip


def sana() -> SanaPipeline:
    """Gemma 2 after an instruction; linear attention to the picture, cross-attention to the text."""
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16,
        sample_size=16,
    )  # fmt: skip
    blocks = ("ResBlock", "EfficientViTBlock")
    vae = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=blocks, decoder_block_types=blocks,
        encoder_block_out_channels=(4, 4), decoder_block_out_channels=(4, 4), encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
        downsample_block_type="conv", upsample_block_type="interpolate", decoder_norm_types="rms_norm",
        decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    encoder = Gemma2Model(Gemma2Config(**LLM, vocab_size=64, num_hidden_layers=2, head_dim=8))
    return SanaPipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=vae, text_encoder=encoder, tokenizer=word_tokenizer()
    )


def wan() -> WanPipeline:
    """UMT5; films; cross-attention, with norms over all heads."""
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, text_dim=24,
        freq_dim=16, ffn_dim=16, num_layers=2, cross_attn_norm=True, rope_max_seq_len=32,
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False], latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4, scale_factor_spatial=2, scale_factor_temporal=1,
    )  # fmt: skip
    return WanPipeline(
        transformer=enlivened(transformer), scheduler=flow(), vae=vae, text_encoder=t5(UMT5Config, UMT5EncoderModel),
        tokenizer=word_tokenizer(),
    )  # fmt: skip


PIPELINES: dict[str, Callable[[], Any]] = {
    "SD3Transformer2DModel": stable_diffusion_3,
    "FluxTransformer2DModel": flux,
    "PixArtTransformer2DModel": pixart,
    "ZImageTransformer2DModel": z_image,
    "SanaTransformer2DModel": sana,
    "WanTransformer3DModel": wan,
    "QwenImageTransformer2DModel": qwen_image,
    "Flux2Transformer2DModel": flux_2,
}
"""By the class of the transformer."""
CALLS: dict[str, dict[str, Any]] = {
    "SD3Transformer2DModel": {"max_sequence_length": 16, "guidance_scale": 5.0},
    "FluxTransformer2DModel": {"max_sequence_length": 16},
    "PixArtTransformer2DModel": {"max_sequence_length": 16, "use_resolution_binning": False, "clean_caption": False},
    "ZImageTransformer2DModel": {"max_sequence_length": 20, "guidance_scale": 5.0},
    "SanaTransformer2DModel": {
        "max_sequence_length": 16, "use_resolution_binning": False, "clean_caption": False,
        "complex_human_instruction": ["a picture of the", "red toy :"],
    },
    "WanTransformer3DModel": {"max_sequence_length": 16, "num_frames": 1},
    "QwenImageTransformer2DModel": {"max_sequence_length": 32},
    "Flux2Transformer2DModel": {"max_sequence_length": 24, "text_encoder_out_layers": (1, 2)},
}  # fmt: skip
"""Arguments with which each is called."""
GUIDED: dict[str, dict[str, Any] | None] = {
    **dict.fromkeys(PIPELINES, {}),
    "FluxTransformer2DModel": {"true_cfg_scale": 3.0},
    "QwenImageTransformer2DModel": {"true_cfg_scale": 3.0},
    "Flux2Transformer2DModel": None,
}
"""What each needs for negative prompts; None where there are none."""


def built(kind: str, seed: int = 0) -> Any:
    """The pipeline with a transformer of the class ``kind``."""
    torch.manual_seed(seed)
    return quiet(PIPELINES[kind]())


SITES = {
    "SD3Transformer2DModel": ["transformer_blocks.0.attn", "transformer_blocks.1.attn", "transformer_blocks.2.attn"],
    "FluxTransformer2DModel": [
        "transformer_blocks.0.attn", "transformer_blocks.1.attn", "single_transformer_blocks.0.attn",
        "single_transformer_blocks.1.attn",
    ],
    "PixArtTransformer2DModel": ["transformer_blocks.0.attn2", "transformer_blocks.1.attn2"],
    "ZImageTransformer2DModel": ["layers.0.attention", "layers.1.attention"],
    "SanaTransformer2DModel": ["transformer_blocks.0.attn2", "transformer_blocks.1.attn2"],
    "WanTransformer3DModel": ["blocks.0.attn2", "blocks.1.attn2"],
    "QwenImageTransformer2DModel": ["transformer_blocks.0.attn", "transformer_blocks.1.attn"],
}  # fmt: skip
SITES["Flux2Transformer2DModel"] = SITES["FluxTransformer2DModel"]


@pytest.mark.parametrize("kind", PIPELINES)
def test_sites_are_the_attentions_that_read_text(kind: str) -> None:
    """In execution order; second attentions to the picture alone, and refiners of the text, are none."""
    net, convention = built(kind).transformer, CONVENTIONS[kind]
    sites = convention.sites(net)
    assert list(sites) == SITES[kind]
    assert all(any(hasattr(net.get_submodule(name), leaf) for leaf in leaves) for name, leaves in sites.items())
    levels = torch.tensor([10.0, 500.0, 990.0])
    again = convention.noise_level(convention.called_with(levels, torch.float32))
    torch.testing.assert_close(again, levels.double(), rtol=1e-5, atol=1e-3)
