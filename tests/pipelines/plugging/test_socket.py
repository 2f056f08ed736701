"""A plugged word draws what `NeTIPipeline` draws, and an unplugged one leaves no trace."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler, StableDiffusionPipeline

from mappers.neti import Envelope
from pipelines.personalization.pipeline import NeTIPipeline

from .conftest import half, latents, learned, ordinary, quiet

SETTING = {"negative_prompt": ["a <cat> in the snow", "blue"], "num_images_per_prompt": 2, "num_inference_steps": 3}
PROMPTS = ["a photo of a <cat> on the beach", "a red toy"]


def everything(pipe: Any) -> dict[str, Any]:
    """All that a pipeline's use could leave behind."""
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {
        "weights": {f"{n}.{k}": v.clone() for n, part in parts.items() for k, v in part.state_dict().items()},
        "hooks": {
            f"{n}.{k}": (len(m._forward_pre_hooks), len(m._forward_hooks), len(m._forward_pre_hooks_with_kwargs))
            for n, part in parts.items()
            for k, m in part.named_modules()
        },
        "keys": {f"{n}.{k}": sorted(m.__dict__) for n, part in parts.items() for k, m in part.named_modules()},
        "own": sorted(pipe.__dict__),
        "config": dict(pipe.config),
        "vocabulary": pipe.tokenizer.get_vocab(),
        "processors": {
            f"{n}.{k}": id(getattr(m, "processor", None)) for n, part in parts.items() for k, m in part.named_modules()
        },
    }


def check_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    weights, others = before.pop("weights"), after.pop("weights")
    assert weights.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert before == after


@pytest.mark.parametrize(
    "scheduler", [None, DDIMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler], ids=str
)
def test_it_draws_to_the_bit_what_our_own_pipeline_draws(
    stock: StableDiffusionPipeline, pipeline: NeTIPipeline, scheduler: Any
) -> None:
    """Repeated, fractional and stochastic schedules; a word in negative prompts; prompts without a word."""
    if scheduler is not None:
        for pipe in (stock, pipeline):
            pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    concept = learned(stock)
    left = latents(stock, PROMPTS, **SETTING)
    before = everything(stock)
    socket = concept.plug(stock)
    pipeline.load_concept(concept)
    ours = latents(stock, PROMPTS, **SETTING)
    assert torch.equal(ours, latents(pipeline, PROMPTS, **SETTING))
    assert (ours - left).abs().max() > 0.01
    socket.unplug()
    check_same(before, everything(stock))
    assert torch.equal(latents(stock, PROMPTS, **SETTING), left)


@pytest.mark.parametrize("layers", [70, 11])
def test_stable_diffusion_xl_by_layer_and_by_block(stock_xl: Any, sdxl: NeTIPipeline, layers: int) -> None:
    """The pooled embedding follows the word too."""
    concept = learned(stock_xl, layers=layers)
    setting = {**SETTING, "num_images_per_prompt": 1, "num_inference_steps": 2}
    with concept.plug(stock_xl):
        ours = latents(stock_xl, PROMPTS, **setting)
    sdxl.load_concept(concept)
    torch.testing.assert_close(ours, latents(sdxl, PROMPTS, **setting), atol=1e-6, rtol=1e-6)
    assert (ours - latents(stock_xl, PROMPTS, **setting)).abs().max() > 0.01


def test_bf16_equals_our_own_pipeline_in_bf16(tiny_model: Path) -> None:
    stock = quiet(StableDiffusionPipeline.from_pretrained(tiny_model, torch_dtype=torch.bfloat16))
    own = NeTIPipeline.from_model(tiny_model, device="cpu", dtype=torch.bfloat16)
    own.set_progress_bar_config(disable=True)
    concept = learned(stock)
    own.load_concept(concept)
    with concept.plug(stock):
        assert torch.equal(latents(stock, PROMPTS), latents(own, PROMPTS))


def test_truncation_scale_and_regions_are_settings_of_a_word(
    stock: StableDiffusionPipeline, pipeline: NeTIPipeline
) -> None:
    concept = learned(stock)
    pipeline.load_concept(concept)
    envelope = Envelope(times={999: 0, 500: 128}, layers={3: 0.5})
    for truncation in (4, envelope):
        with concept.plug(stock, truncation=truncation):
            assert torch.equal(latents(stock, "a <cat>"), latents(pipeline, "a <cat>", truncation=truncation))
    with concept.plug(stock, region=half()) as socket:
        ours = latents(stock, PROMPTS, **SETTING)
        torch.testing.assert_close(
            ours, latents(pipeline, PROMPTS, regions={"<cat>": half()}, **SETTING), atol=1e-5, rtol=1e-5
        )
        socket.words["<cat>"].region = None
        assert (ours - latents(stock, PROMPTS, **SETTING)).abs().max() > 1e-4
        socket.words["<cat>"].scale = 0.0
        torch.testing.assert_close(latents(stock, "a <cat>"), latents(stock, "a toy"), atol=1e-5, rtol=1e-5)
        socket.words["<cat>"].scale = 0.5
        middle = latents(stock, "a <cat>")
        assert (middle - latents(stock, "a toy")).abs().max() > 1e-3
        socket.words["<cat>"].scale = 1.0
        assert torch.equal(latents(stock, "a <cat>"), latents(pipeline, "a <cat>"))


def test_several_words_share_a_pipeline(stock: StableDiffusionPipeline, pipeline: NeTIPipeline) -> None:
    first, second = learned(stock), learned(stock, "<dog>", seed=9)
    prompts = ["a <cat> on a <dog>", "<cat> and a <cat>", "a <dog> in the snow", "a toy"]
    for concept in (first, second):
        pipeline.load_concept(concept)
    latents(stock, "a toy")
    before = everything(stock)
    socket = first.plug(stock)
    assert second.plug(stock) is socket
    assert torch.equal(latents(stock, prompts), latents(pipeline, prompts))
    socket.unplug("<cat>")
    torch.testing.assert_close(latents(stock, "a <dog>"), latents(pipeline, "a <dog>"), atol=1e-6, rtol=1e-6)
    socket.unplug()
    check_same(before, everything(stock))


def test_pipelines_that_share_a_unet_have_their_own_words(stock: StableDiffusionPipeline) -> None:
    other = quiet(StableDiffusionPipeline.from_pipe(stock))
    first, second = ordinary(stock), ordinary(stock, "snow", "<dog>")
    cat, dog = latents(stock, "a beach"), latents(stock, "a snow")
    sockets = first.plug(stock), second.plug(other)
    torch.testing.assert_close(latents(stock, "a <cat>"), cat)
    torch.testing.assert_close(latents(other, "a <dog>"), dog)
    sockets[0].unplug()
    torch.testing.assert_close(latents(other, "a <dog>"), dog)
    sockets[1].unplug()
    assert not stock.unet._forward_pre_hooks


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers and numpy 2
def test_a_prompt_is_encoded_once_for_many_pictures(stock: StableDiffusionPipeline, stock_xl: Any) -> None:
    for pipe in (stock, stock_xl):
        concept = learned(pipe)
        with concept.plug(pipe) as socket:
            want = latents(pipe, "a <cat> on the beach", negative_prompt="a blue <cat>")
            made = socket.encode("a <cat> on the beach", "a blue <cat>")
            latents(pipe, "a toy on a <cat>")
            calls: list[int] = []
            hook = pipe.text_encoder.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
            torch.testing.assert_close(pipe_call(pipe, made), want, atol=1e-6, rtol=1e-6)
            assert calls  # contexts of the schedule's timesteps
            calls.clear()
            torch.testing.assert_close(pipe_call(pipe, made), want, atol=1e-6, rtol=1e-6)
            assert not calls
            hook.remove()
            with pytest.warns(UserWarning, match="were changed after they were encoded, so the mean of the word"):
                pipe_call(pipe, made | {"prompt_embeds": made["prompt_embeds"] * 1.1})


def pipe_call(pipe: Any, made: dict[str, torch.Tensor]) -> torch.Tensor:
    return latents(pipe, None, **made)  # pyright: ignore[reportArgumentType]


def test_a_plugged_pipeline_is_saved_as_the_plain_one(stock: StableDiffusionPipeline, tmp_path: Path) -> None:
    plain = latents(stock, "a toy")
    with learned(stock).plug(stock):
        stock.save_pretrained(tmp_path)
    loaded = quiet(StableDiffusionPipeline.from_pretrained(tmp_path))
    assert torch.equal(latents(loaded, "a toy"), plain)


def test_only_a_prompt_whose_word_is_cut_is_refused(stock: StableDiffusionPipeline) -> None:
    long = "on the beach " * 40
    plain = latents(stock, "a beach " + long)
    with ordinary(stock).plug(stock):
        torch.testing.assert_close(latents(stock, "a <cat> " + long), plain)
        with pytest.raises(ValueError, match=r"reads 22 tokens of a prompt, and the word <cat> stands after them"):
            latents(stock, long + "<cat>")


def test_what_does_not_fit_is_refused(stock: StableDiffusionPipeline, stock_xl: Any) -> None:
    concept = learned(stock)
    with pytest.raises(ValueError, match="learned on another base model .tiny.: 16 cross-attention layers and 16-wide"):
        concept.plug(stock_xl)
    assert "encode_prompt" not in stock_xl.__dict__
    with concept.plug(stock) as socket:
        with pytest.raises(ValueError, match="a word <cat> is plugged into this pipeline already; unplug it, or plug"):
            concept.plug(stock)
        concept.plug(stock, token="<pet>")
        with pytest.raises(ValueError, match="no word '<dog>' is plugged in; plugged in are"):
            socket.unplug("<dog>")
        with pytest.raises(ValueError, match="a word that the model already knows"):
            concept.plug(stock, token="toy")
    with (
        concept.plug(stock, region=half().resize((16, 16))),
        pytest.raises(ValueError, match="the region of <cat> has 16x16 pixels, the picture that is drawn 32x32"),
    ):
        latents(stock, "a <cat>")
    with pytest.raises(ValueError, match="other weights than the loaded model"):
        dataclasses.replace(concept, base=dataclasses.replace(concept.base, sketch=[0.5] * 32)).plug(stock)
    silent = StableDiffusionPipeline(**{**stock.components, "text_encoder": None}, requires_safety_checker=False)
    with pytest.raises(ValueError, match="StableDiffusionPipeline has no text encoder"):
        concept.plug(silent)


def test_weights_may_be_offloaded(stock: StableDiffusionPipeline) -> None:
    """Sequentially too: between calls no weight is where it computes."""
    want, plain = latents(stock, "a beach"), latents(stock, "a toy")
    concept = ordinary(stock)
    for part in (stock.unet, stock.text_encoder, stock.vae):
        accelerate.cpu_offload(part, execution_device=torch.device("cpu"))
    assert next(stock.unet.parameters()).is_meta
    with concept.plug(stock):
        torch.testing.assert_close(latents(stock, "a <cat>"), want, atol=1e-5, rtol=1e-5)
    assert torch.equal(latents(stock, "a toy"), plain)
