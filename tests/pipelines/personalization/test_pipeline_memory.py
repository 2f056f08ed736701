"""Half precision, offloading and slicing, as far as a CPU can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline

TOKEN = "<cat>"


def known(folder: Path, dtype: torch.dtype = torch.float32) -> NeTIPipeline:
    pipeline = NeTIPipeline.from_model(folder, device="cpu", dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_concept(Concept(TOKEN, "toy", NeTIMapper(16, 16, 20.0, seed=3), pipeline.base, "tiny"))
    return pipeline


def draw(pipeline: NeTIPipeline, **options: object) -> np.ndarray:
    noise = torch.Generator().manual_seed(0)
    options = {"num_inference_steps": 3, "output_type": "np", "generator": noise, **options}
    return np.asarray(pipeline(f"a photo of a {TOKEN}", **options).images)  # pyright: ignore


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_draws_nearly_the_same(tiny_model: Path, dtype: torch.dtype) -> None:
    """The mapper and its encoding stay in fp32, where rounding would change the word."""
    half = known(tiny_model, dtype)
    assert half.unet.dtype == half.text_encoder.dtype == dtype
    assert {p.dtype for p in half.concepts[TOKEN].mapper.parameters()} == {torch.float32}
    picture = draw(half)
    assert np.isfinite(picture).all()
    assert np.abs(picture - draw(known(tiny_model))).mean() < 0.02


def test_slicing_changes_nothing(tiny_model: Path) -> None:
    pipeline = known(tiny_model)
    picture = draw(pipeline)
    pipeline.enable_attention_slicing(1)
    pipeline.vae.enable_slicing()
    before = {name: type(processor) for name, processor in pipeline.unet.attn_processors.items()}
    np.testing.assert_allclose(draw(pipeline), picture, atol=1e-5)
    assert {name: type(processor) for name, processor in pipeline.unet.attn_processors.items()} == before
    assert any("Sliced" in kind.__name__ for kind in before.values())


def test_offloaded_parts_come_when_called(tiny_model: Path) -> None:
    """diffusers moves a part to the accelerator when it is called; here the CPU stands in for one."""
    plain, moved = known(tiny_model), known(tiny_model)
    photo = Image.new("RGB", (32, 32), "red")
    moved.enable_model_cpu_offload(device="cpu")
    np.testing.assert_allclose(draw(moved), draw(plain), atol=1e-5)
    over = {"image": photo, "mask": photo, "strength": 1.0}
    np.testing.assert_allclose(draw(moved, **over), draw(plain, **over), atol=1e-5)
    moved.load_concept(Concept("<dog>", "toy", NeTIMapper(16, 16, 20.0), moved.base, "tiny"))
    assert not np.array_equal(draw(moved, negative_prompt="a <dog>"), draw(moved))


def test_sequential_offload_is_refused(tiny_model: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"use enable_model_cpu_offload\(\)"):
        known(tiny_model).enable_sequential_cpu_offload()


@pytest.mark.gpu
def test_offload_to_an_accelerator(tiny_model: Path) -> None:
    plain, moved = known(tiny_model), known(tiny_model)
    moved.enable_model_cpu_offload()
    np.testing.assert_allclose(draw(moved), draw(plain), atol=1e-2)
    assert {part.device.type for part in (moved.unet, moved.text_encoder, moved.vae)} == {"cpu"}
    over = {"image": Image.new("RGB", (32, 32), "red"), "strength": 0.7}
    assert np.isfinite(draw(moved, **over)).all()
