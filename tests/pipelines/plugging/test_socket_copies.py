"""Copies of a plugged pipeline, and what others wrap around its networks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.hooks import apply_group_offloading
from torch.nn.parallel import DistributedDataParallel

from .conftest import latents, learned, ordinary, quiet


def test_a_copy_is_plugged_by_itself(stock: StableDiffusionPipeline) -> None:
    stock = copy.deepcopy(stock)  # Weights of a file lie unaligned in memory, where torch rounds otherwise.
    plain = latents(stock, "a toy")
    with learned(stock).plug(stock):
        want = latents(stock, "a <cat>")
        other = copy.deepcopy(stock)
        drawn = latents(other, "a <cat>")
        assert torch.equal(drawn, want)
    assert torch.equal(latents(other, "a <cat>"), drawn)
    other.__dict__["encode_prompt"].__self__.unplug()
    assert torch.equal(latents(other, "a toy"), plain)
    assert not [m for m in other.unet.modules() if m._forward_pre_hooks or m._forward_hooks]


def test_a_pipeline_made_from_a_plugged_one_knows_no_words(stock: StableDiffusionPipeline) -> None:
    """Until they are plugged into it as well; embeddings of the first are drawn by both."""
    raw, want = latents(stock, "a <cat>"), latents(stock, "a beach")
    with ordinary(stock).plug(stock) as socket:
        other: Any = quiet(StableDiffusionPipeline.from_pipe(stock))
        assert torch.equal(latents(other, "a <cat>"), raw)
        made = socket.encode("a <cat>")
        torch.testing.assert_close(latents(other, None, **made), want, atol=2e-5, rtol=1e-4)  # pyright: ignore
        with ordinary(other).plug(other):
            torch.testing.assert_close(latents(other, "a <cat>"), want, atol=2e-5, rtol=1e-4)


def test_offloaded_in_groups(stock: StableDiffusionPipeline) -> None:
    want = latents(stock, "a beach")
    cpu = torch.device("cpu")
    for part in (stock.unet, stock.text_encoder):
        apply_group_offloading(part, onload_device=cpu, offload_device=cpu, offload_type="leaf_level")
    with ordinary(stock).plug(stock):
        torch.testing.assert_close(latents(stock, "a <cat>"), want, atol=2e-5, rtol=1e-4)


def test_weights_stored_in_half_precision(stock: StableDiffusionPipeline) -> None:
    stock.unet.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    want = latents(stock, "a beach")
    with ordinary(stock).plug(stock):
        torch.testing.assert_close(latents(stock, "a <cat>"), want, atol=2e-5, rtol=1e-4)
    assert torch.equal(latents(stock, "a beach"), want)


def test_data_parallel_training_reads_the_word(stock: StableDiffusionPipeline, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with learned(stock).plug(stock) as socket:
            row = socket.encode("a <cat>")["prompt_embeds"]
            noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
            want = stock.unet(noisy, 500, row).sample
            stock.unet.conv_out.requires_grad_(True)
            wrapped = DistributedDataParallel(stock.unet)
            made = wrapped(noisy, 500, row).sample
            assert torch.equal(made, want)
            made.square().mean().backward()
            assert stock.unet.conv_out.weight.grad.any()
        assert not torch.equal(stock.unet(noisy, 500, row).sample, want)
    finally:
        torch.distributed.destroy_process_group()
