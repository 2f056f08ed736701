"""The pipeline: every scheduler, guidance, negative prompts, and a base model that is never changed."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mappers.neti import Envelope, NeTIMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline

TOKEN = "<cat>"


@pytest.fixture
def knowing(pipeline: NeTIPipeline) -> NeTIPipeline:
    mapper = NeTIMapper(16, 16, 20.0, seed=3)
    pipeline.load_concept(Concept(TOKEN, "toy", mapper, pipeline.base, "tiny"))
    return pipeline


def draw(pipeline: NeTIPipeline, prompt: str | list[str] = "a photo of a <cat>", **options: Any) -> np.ndarray:
    options = {
        "num_inference_steps": 3,
        "output_type": "np",
        "generator": torch.Generator().manual_seed(0),
        **options,
    }
    return np.asarray(pipeline(prompt, **options).images)


def digest(pipeline: NeTIPipeline) -> str:
    sums = hashlib.sha256()
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        for name, value in module.state_dict().items():
            sums.update(name.encode() + value.numpy().tobytes())
    return sums.hexdigest()


@pytest.mark.parametrize("model", ["tiny_model", "tiny_sd2"])
def test_without_a_concept_it_is_stable_diffusion(model: str, request: pytest.FixtureRequest) -> None:
    """Same noise, prompt and schedule as diffusers' own pipeline."""
    from diffusers import StableDiffusionPipeline

    pipeline = NeTIPipeline.from_model(request.getfixturevalue(model), device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    plain = StableDiffusionPipeline(
        **pipeline.components | {"safety_checker": None, "feature_extractor": None, "image_encoder": None},
        requires_safety_checker=False,
    )
    plain.set_progress_bar_config(disable=True)
    ours = draw(pipeline, "a red cat", negative_prompt="blue")
    theirs = np.asarray(
        plain(
            "a red cat", negative_prompt="blue", num_inference_steps=3, output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_every_compatible_scheduler_draws(knowing: NeTIPipeline) -> None:
    """Fractional (Euler), repeated (Heun) and stochastic timesteps included; same seed, same picture."""
    compatible = knowing.scheduler.compatibles
    assert len(compatible) >= 10
    for cls in sorted(compatible, key=lambda c: c.__name__):
        try:
            scheduler = cls.from_config(knowing.scheduler.config)
        except ImportError:  # needs torchsde or scipy, which diffusers asks for by name
            continue
        knowing.scheduler = scheduler
        generator = "generator" in inspect.signature(scheduler.step).parameters
        first, second = draw(knowing), draw(knowing)
        assert np.isfinite(first).all(), cls.__name__
        assert first.shape == (1, 32, 32, 3)
        if generator or "sde" not in cls.__name__.lower():
            np.testing.assert_array_equal(first, second, err_msg=cls.__name__)


def test_the_word_matters_and_so_does_truncation(knowing: NeTIPipeline) -> None:
    with_word, without = draw(knowing), draw(knowing, "a photo of a toy")
    assert np.abs(with_word - without).max() > 1e-3
    assert np.abs(with_word - draw(knowing, truncation=4)).max() > 1e-5
    np.testing.assert_array_equal(with_word, draw(knowing, truncation=128))
    with pytest.raises(ValueError, match="truncation must be in"):
        draw(knowing, truncation=129)


def test_guidance_off_and_batched_guidance(knowing: NeTIPipeline) -> None:
    """One batched pass equals two separate ones: guided = away + w (towards - away)."""
    latents = torch.randn(1, 4, 8, 8)
    seen: list[torch.Tensor] = []
    original = knowing._guided
    knowing._guided = lambda *args: seen.append(original(*args)) or seen[-1]  # pyright: ignore
    results = [
        draw(knowing, guidance_scale=g, latents=latents, num_inference_steps=1, output_type="np")
        for g in (1.0, 2.0, 3.0)
    ]
    assert all(np.isfinite(r).all() for r in results)
    first, second, third = (seen[i] for i in (0, len(seen) // 3, 2 * len(seen) // 3))
    torch.testing.assert_close(third - second, second - first, atol=1e-4, rtol=1e-3)


def test_negative_prompt_is_honoured_and_may_hold_a_word(knowing: NeTIPipeline) -> None:
    plain = draw(knowing)
    assert np.abs(plain - draw(knowing, negative_prompt="blue sky")).max() > 1e-5
    away = draw(knowing, negative_prompt="a <cat>")
    assert np.abs(plain - away).max() > 1e-5
    # Away from what it is drawn towards there is nowhere to go: guidance has no say.
    same = {"prompt": "a <cat>", "negative_prompt": "a <cat>"}
    np.testing.assert_allclose(
        draw(knowing, **same, guidance_scale=9.0), draw(knowing, "a <cat>", guidance_scale=1.0), atol=1e-4
    )


def test_contexts_that_the_caller_holds_serve_all_seeds(knowing: NeTIPipeline) -> None:
    calls: list[int] = []
    knowing.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    first = draw(knowing)
    made = len(calls)
    assert made > 0
    table = knowing.contexts(["", "a red toy", "a <cat>"])  # in any order, with others
    calls.clear()
    np.testing.assert_allclose(draw(knowing, "a <cat>", contexts=table), draw(knowing, "a <cat>"), atol=1e-5)
    calls.clear()
    other = draw(knowing, "a <cat>", contexts=table, generator=torch.Generator().manual_seed(1))
    assert not calls
    assert np.abs(other - first).max() > 1e-5
    with pytest.raises(ValueError, match="contexts lacks the prompt 'a blue <cat>'; use pipeline.contexts"):
        draw(knowing, "a blue <cat>", contexts=table)
    with pytest.raises(ValueError, match="truncation is part of contexts"):
        draw(knowing, "a <cat>", contexts=table, truncation=20)


def test_a_word_that_changes_is_encoded_anew(knowing: NeTIPipeline) -> None:
    """However its weights change: ``.data`` leaves no trace in a tensor's version."""
    first = draw(knowing)
    knowing.unload_concept(TOKEN)
    knowing.load_concept(Concept(TOKEN, "toy", NeTIMapper(16, 16, 20.0, seed=4), knowing.base, "tiny"))
    second = draw(knowing)
    assert np.abs(second - first).max() > 1e-5
    knowing.concepts[TOKEN].mapper.get_parameter("output.bias").data.add_(0.5)
    third = draw(knowing)
    assert np.abs(third - second).max() > 1e-5
    assert np.isfinite(third).all()


def test_an_envelope_that_says_the_same_everywhere_is_a_truncation(knowing: NeTIPipeline) -> None:
    np.testing.assert_array_equal(draw(knowing, truncation=Envelope(times={0: 20})), draw(knowing, truncation=20))
    cut = draw(knowing, truncation=Envelope(times={999: 0, 500: 128}))
    assert np.abs(cut - draw(knowing)).max() > 1e-6


def test_mixed_words_survive_their_file(knowing: NeTIPipeline, tmp_path: Path) -> None:
    fine = knowing.fine_layers()
    assert fine == [0, 1, 2, 3, 10, 11, 12, 13, 14, 15]
    other = Concept("<dog>", "toy", NeTIMapper(16, 16, 20.0, seed=9).eval(), knowing.base, "tiny")
    mixed = knowing.concepts[TOKEN].mix(other, layers=fine)
    assert knowing.load_concept(mixed) == "<cat-dog>"
    picture = draw(knowing, "a <cat-dog>")
    assert min(np.abs(picture - draw(knowing, f"a {t}")).max() for t in (TOKEN, "a toy")) > 1e-6
    path = knowing.save_concept("<cat-dog>", tmp_path / "mixed.safetensors")
    knowing.unload_concept("<cat-dog>")
    knowing.load_concept(path)
    np.testing.assert_array_equal(draw(knowing, "a <cat-dog>"), picture)
    foreign = dataclasses.replace(other, base=dataclasses.replace(other.base, layers=9))
    with pytest.raises(ValueError, match="<dog> cannot be mixed into <cat>: it was learned on 9 cross-attention"):
        knowing.concepts[TOKEN].mix(foreign, layers=fine)


def test_rows_of_a_batch_are_those_of_single_calls(knowing: NeTIPipeline) -> None:
    latents = torch.randn(4, 4, 8, 8)
    together = draw(knowing, ["a <cat>", "a red toy"], num_images_per_prompt=2, latents=latents)
    assert together.shape == (4, 32, 32, 3)
    for row, prompt in enumerate(["a <cat>", "a <cat>", "a red toy", "a red toy"]):
        np.testing.assert_allclose(together[row], draw(knowing, prompt, latents=latents[row : row + 1])[0], atol=1e-4)


def test_sizes_outputs_and_callback(knowing: NeTIPipeline) -> None:
    assert draw(knowing, height=64, width=32).shape == (1, 64, 32, 3)
    assert knowing("a <cat>", num_inference_steps=1).images[0].size == (32, 32)
    latent = knowing("a <cat>", num_inference_steps=1, output_type="latent").images
    assert latent.shape == (1, 4, 8, 8)
    steps: list[int] = []
    zeros = lambda _p, i, _t, kw: steps.append(i) or {"latents": torch.zeros_like(kw["latents"])}  # noqa: E731
    stopped = knowing("a <cat>", num_inference_steps=2, output_type="latent", callback_on_step_end=zeros).images
    assert steps == list(range(len(knowing.scheduler.timesteps)))
    assert not stopped.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 33}, "height and width must be multiples of 4, got 33x32"),
        ({"output_type": "gif"}, "output_type must be pil, np, pt or latent"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt must be at least 1"),
        ({"negative_prompt": ["a", "b"]}, "negative_prompt has 2 entries for 1 prompts"),
    ],
)
def test_bad_arguments(knowing: NeTIPipeline, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(knowing, **options)


def test_the_base_model_is_bit_identical_after_use(pipeline: NeTIPipeline) -> None:
    before, picture = digest(pipeline), draw(pipeline, "a toy")
    mapper = NeTIMapper(16, 16, 20.0)
    pipeline.load_concept(Concept(TOKEN, "toy", mapper, pipeline.base, "tiny"))
    draw(pipeline)
    pipeline.unload_concept(TOKEN)
    assert digest(pipeline) == before
    np.testing.assert_array_equal(draw(pipeline, "a toy"), picture)
    with pytest.raises(ValueError, match="no concept '<cat>' is loaded"):
        pipeline.unload_concept(TOKEN)


def test_two_words_in_one_prompt(knowing: NeTIPipeline) -> None:
    other = NeTIMapper(16, 16, 20.0, seed=9)
    knowing.load_concept(Concept("<dog>", "toy", other, knowing.base, "tiny"))
    both = draw(knowing, "a <cat> on a <dog>")
    assert np.abs(both - draw(knowing, "a <dog> on a <cat>")).max() > 1e-5


def test_save_and_load_give_the_same_picture(knowing: NeTIPipeline, tiny_model: Path, tmp_path: Path) -> None:
    path = knowing.save_concept(TOKEN, tmp_path / "c" / "concept.safetensors")
    fresh = NeTIPipeline.from_model(tiny_model, device="cpu")
    fresh.set_progress_bar_config(disable=True)
    assert fresh.load_concept(path) == TOKEN
    np.testing.assert_array_equal(draw(knowing), draw(fresh))


def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder, nor an embedded model"):
        NeTIPipeline.from_model("./nowhere")
    with pytest.raises(FileNotFoundError, match="could not load the model"):
        NeTIPipeline.from_model(tmp_path)
