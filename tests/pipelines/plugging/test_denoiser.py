"""A word that has an ordinary word's vectors draws what the ordinary word draws, in every pipeline.

The rows of its prompts are noise but for being recognized, so that only fed sites can draw it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    ControlNetModel,
    LCMScheduler,
    MotionAdapter,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from pipelines.personalization.attention import cross_attention_order
from pipelines.plugging import sites

from .conftest import check_word, half, latents, learned, ordinary, picture, quiet

pytestmark = pytest.mark.usefixtures("poisoned")


def test_layers_are_numbered_as_they_are_run(stock: StableDiffusionPipeline, stock_xl: Any) -> None:
    """By their names alone, and a ControlNet has the first of them."""
    for pipe in (stock, stock_xl):
        assert sites.cross_attentions(pipe.unet) == cross_attention_order(pipe.unet)
    mine = sites.cross_attentions(controlnet(stock))
    assert mine == sites.cross_attentions(stock.unet)[: len(mine)]


def test_text_to_image(stock: StableDiffusionPipeline) -> None:
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word} in the snow", negative_prompt=f"blue {word}"))
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}", guidance_scale=1.0))
    stock.scheduler = LCMScheduler.from_config(stock.scheduler.config)
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}", guidance_rescale=0.5))


def test_clip_skip(stock: StableDiffusionPipeline, stock_xl: Any) -> None:
    # diffusers 0.42 looks for this name, which transformers 5 has no more.
    stock.text_encoder.__dict__["text_model"] = stock.text_encoder
    for pipe in (stock, stock_xl):
        check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", clip_skip=1))


def test_image_to_image_and_inpainting(stock: StableDiffusionPipeline) -> None:
    pipe = quiet(StableDiffusionImg2ImgPipeline.from_pipe(stock))
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", image=picture(), strength=1.0))
    pipe = quiet(StableDiffusionInpaintPipeline.from_pipe(stock))
    given = {"image": picture(), "mask_image": half(), "height": 32, "width": 32, "strength": 1.0}
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", **given))


def controlnet(stock: StableDiffusionPipeline) -> ControlNetModel:
    net = ControlNetModel.from_unet(stock.unet, conditioning_embedding_out_channels=(4, 4, 8))
    torch.manual_seed(0)
    for block in (net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding):
        for weight in block.parameters():
            nn.init.normal_(weight, 0, 0.1)
    return net.requires_grad_(False)


@pytest.mark.parametrize("case", ["one", "guess", "several", "image"])
def test_controlnet(stock: StableDiffusionPipeline, case: str) -> None:
    net = controlnet(stock)
    if case == "image":
        pipe = quiet(StableDiffusionControlNetImg2ImgPipeline.from_pipe(stock, controlnet=net))
        given = {"image": picture(), "control_image": picture(1), "strength": 1.0}
    else:
        nets = [net, net] if case == "several" else net
        pipe = quiet(StableDiffusionControlNetPipeline.from_pipe(stock, controlnet=nets))
        given = {"image": [picture(), picture(1)] if case == "several" else picture(), "guess_mode": case == "guess"}
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", **given))
    assert not net._forward_pre_hooks


def test_regions_act_in_controlnet(stock: StableDiffusionPipeline) -> None:
    pipe = quiet(StableDiffusionControlNetPipeline.from_pipe(stock, controlnet=controlnet(stock)))
    drawn = []
    for left in (True, False):
        with learned(pipe).plug(pipe, region=half(left=left)):
            drawn.append(latents(pipe, "a <cat>", image=picture()))
    assert (drawn[0] - drawn[1]).abs().max() > 1e-4


def test_perturbed_attention_guidance(stock: StableDiffusionPipeline) -> None:
    pipe = quiet(StableDiffusionPAGPipeline.from_pipe(stock, pag_applied_layers=["mid"]))
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", pag_scale=2.0))


def test_stable_diffusion_xl(stock_xl: Any) -> None:
    check_word(stock_xl, lambda pipe, word: latents(pipe, f"a {word}", negative_prompt=f"{word} in the snow"))
    check_word(stock_xl, lambda pipe, word: latents(pipe, "a red toy", prompt_2=f"a {word}"))
    pipe = quiet(StableDiffusionXLImg2ImgPipeline.from_pipe(stock_xl))
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", image=picture(), strength=1.0))


def test_animatediff(stock: StableDiffusionPipeline) -> None:
    """Its motion modules have attentions of the same name, which read no text."""
    adapter = MotionAdapter(
        block_out_channels=(8, 8, 16, 16), motion_layers_per_block=2, motion_norm_num_groups=4,
        motion_num_attention_heads=2, motion_mid_block_layers_per_block=1,
    )  # fmt: skip
    pipe = quiet(AnimateDiffPipeline.from_pipe(stock, motion_adapter=adapter))
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", num_frames=2, height=32, width=32))


def test_fused_projections(stock: StableDiffusionPipeline) -> None:
    stock.unet.fuse_qkv_projections()
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}"))


class Adapted(nn.Module):
    """What peft puts in a projection's place."""

    def __init__(self, base: nn.Module, seed: int):
        super().__init__()
        self.base_layer = base
        self.low = nn.Linear(base.in_features, base.out_features, bias=False)
        nn.init.normal_(self.low.weight, 0, 0.3, generator=torch.Generator().manual_seed(seed))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return self.base_layer(text) + self.low(text)


def adapt(unet: nn.Module) -> dict[tuple[nn.Module, str], nn.Module]:
    """Exchange all text projections; returns those that were there."""
    before = {}
    for seed, name in enumerate(sites.cross_attentions(unet)):
        attention = unet.get_submodule(name)
        for leaf in ("to_k", "to_v"):
            base = attention.get_submodule(leaf)
            before[attention, leaf] = base
            setattr(attention, leaf, Adapted(base, seed).requires_grad_(False))
    return before


def test_adapters_may_come_and_go(stock: StableDiffusionPipeline) -> None:
    """Projections that are exchanged before or after the word is plugged in, also for a prompt encoded before."""
    plain = latents(stock, "a beach")
    with ordinary(stock).plug(stock) as socket:
        made = socket.encode("a <cat>")
        before = adapt(stock.unet)
        after, encoded_before = latents(stock, "a <cat>"), latents(stock, None, **made)  # pyright: ignore
    want = latents(stock, "a beach")
    assert (want - plain).abs().max() > 0.01
    for drawn in (after, encoded_before):
        torch.testing.assert_close(drawn, want, atol=2e-5, rtol=1e-4)
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}"))
    with ordinary(stock).plug(stock):
        for (attention, leaf), base in before.items():
            setattr(attention, leaf, base)
        torch.testing.assert_close(latents(stock, "a <cat>"), plain, atol=2e-5, rtol=1e-4)
    assert not any(base._forward_pre_hooks for base in before.values())


def test_lora(stock: StableDiffusionPipeline) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["to_k", "to_v", "to_q"], init_lora_weights=False)
    plain = latents(stock, "a beach")
    with ordinary(stock).plug(stock):
        torch.manual_seed(0)
        stock.unet.add_adapter(config, "style")
        after = latents(stock, "a <cat>")
    want = latents(stock, "a beach")
    assert (want - plain).abs().max() > 0.01
    torch.testing.assert_close(after, want, atol=2e-5, rtol=1e-4)
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}"))
    stock.unet.fuse_lora()
    check_word(stock, lambda pipe, word: latents(pipe, f"a {word}"))


def with_ip_adapter(stock: StableDiffusionPipeline) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=12,
    )  # fmt: skip
    side = {"height": 16, "width": 16}
    parts = {
        "image_encoder": CLIPVisionModelWithProjection(config),
        "feature_extractor": CLIPImageProcessor(size=side, crop_size=side),
    }
    return quiet(StableDiffusionPipeline(**{**stock.components, **parts}, requires_safety_checker=False))


def load_ip_adapter(pipe: StableDiffusionPipeline) -> None:
    projection = {"proj.weight": torch.randn(4 * 16, 12), "proj.bias": torch.zeros(4 * 16)}
    projection |= {"norm.weight": torch.ones(16), "norm.bias": torch.zeros(16)}
    weights: dict[str, torch.Tensor] = {}
    crossing = [name for name in pipe.unet.attn_processors if "attn2" in name]
    for i, name in enumerate(crossing):
        wide = pipe.unet.get_submodule(name.removesuffix(".processor")).get_submodule("to_k").out_features
        for part in ("k", "v"):
            weights[f"{2 * i + 1}.to_{part}_ip.weight"] = torch.randn(wide, 16) * 0.3  # pyright: ignore
    state = {"image_proj": projection, "ip_adapter": weights}
    pipe.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)  # pyright: ignore
    pipe.unet.requires_grad_(False)


def test_ip_adapter(stock: StableDiffusionPipeline) -> None:
    """It puts its own processors in, before or after the word."""
    pipe = with_ip_adapter(stock)
    plain = latents(pipe, "a beach")
    with ordinary(pipe).plug(pipe):
        load_ip_adapter(pipe)
        after = latents(pipe, "a <cat>", ip_adapter_image=picture())
    want = latents(pipe, "a beach", ip_adapter_image=picture())
    assert (want - plain).abs().max() > 0.001
    torch.testing.assert_close(after, want, atol=2e-5, rtol=1e-4)
    check_word(pipe, lambda pipe, word: latents(pipe, f"a {word}", ip_adapter_image=picture()))


def test_compiled_networks(stock: StableDiffusionPipeline) -> None:
    """Compiled after it is plugged in, the word is drawn; a network that ran before is compiled anew."""
    want = latents(stock, "a beach")
    with ordinary(stock).plug(stock):
        stock.unet.compile(fullgraph=True, backend="eager")
        torch.testing.assert_close(latents(stock, "a <cat>"), want, atol=2e-5, rtol=1e-4)
    with (
        pytest.warns(UserWarning, match="UNet2DConditionModel is compiled: all compiled graphs were dropped"),
        ordinary(stock).plug(stock),
    ):
        torch.testing.assert_close(latents(stock, "a <cat>"), want, atol=2e-5, rtol=1e-4)
