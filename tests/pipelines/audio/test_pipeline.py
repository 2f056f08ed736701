"""Pictures to sounds on a tiny random model in AudioLDM's layout, against diffusers' own pipeline for that layout."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AudioLDMPipeline
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from mappers.diffusion_prior import DiffusionPriorMapper
from mappers.v2a import RegressionMapper
from pipelines.audio.pipeline import VisionToAudioPipeline

WIDTH = 16
"""Of the tiny CLAP's embeddings."""
SEEN = 12
"""Of the tiny CLIP's."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quietly(make: Callable[[], AudioLDMPipeline]) -> AudioLDMPipeline:
    """diffusers' own pipeline, which says at every turn that it is no longer cared for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def generator_only(audioldm: Path) -> VisionToAudioPipeline:
    pipeline = VisionToAudioPipeline.from_pretrained(audioldm)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def pipeline(folders: Any, generator_only: VisionToAudioPipeline) -> VisionToAudioPipeline:
    generator_only.register_modules(
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(folders.clip).eval(),
        feature_extractor=CLIPImageProcessor.from_pretrained(folders.clip),
        mapper=RegressionMapper(SEEN, WIDTH).eval(),
    )
    return generator_only


def tiny_prior() -> DiffusionPriorMapper:
    torch.manual_seed(0)
    return DiffusionPriorMapper(SEEN, WIDTH, depth=1, heads=2, head_width=8, null_tokens=1).eval()


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_equals_diffusers_pipeline_for_equal_embeddings_and_noise(
    audioldm: Path, generator_only: VisionToAudioPipeline, guidance: float
) -> None:
    theirs = quietly(lambda: AudioLDMPipeline.from_pretrained(audioldm))
    embeds = torch.nn.functional.normalize(torch.randn(2, WIDTH, generator=generator(3)), dim=1)
    latents = torch.randn(2, 4, 16, 4, generator=generator(4))
    expected = theirs(
        prompt_embeds=embeds, negative_prompt_embeds=generator_only.encode_prompt(["", ""]), latents=latents,
        num_inference_steps=3, guidance_scale=guidance,
    ).audios  # fmt: skip
    found = generator_only(audio_embeds=3 * embeds, latents=latents, num_inference_steps=3, guidance_scale=guidance)
    assert found.audios.shape == (2, 16 * 4 * 160)
    assert found.sampling_rate == 16000
    np.testing.assert_allclose(found.audios, expected, atol=1e-4)
    assert np.abs(found.audios).max() > 1e-3


def test_text_embeddings_are_those_of_diffusers_pipeline(audioldm: Path, generator_only: VisionToAudioPipeline) -> None:
    theirs = quietly(lambda: AudioLDMPipeline.from_pretrained(audioldm))
    expected = theirs._encode_prompt(["a dog", ""], "cpu", 1, False)
    torch.testing.assert_close(generator_only.encode_prompt(["a dog", ""]), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("seconds", "samples"), [(0.25, 4000), (0.0405, 648), (0.64, 10240)])
def test_length_is_exact_to_the_sample(generator_only: VisionToAudioPipeline, seconds: float, samples: int) -> None:
    out = generator_only(
        audio_embeds=torch.ones(1, WIDTH), audio_length_in_s=seconds, num_inference_steps=1, generator=generator()
    )
    assert out.audios.shape == (1, samples)
    assert out.audios.dtype == np.float32


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(generator_only: VisionToAudioPipeline, seconds: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        generator_only(audio_embeds=torch.ones(1, WIDTH), audio_length_in_s=seconds)


def test_a_batch_equals_single_calls(pipeline: VisionToAudioPipeline) -> None:
    pictures = [picture(0), picture(1)]
    options = {"num_inference_steps": 2, "audio_length_in_s": 0.1}
    both = pipeline(pictures, generator=[generator(0), generator(1)], **options).audios
    for i, one in enumerate(pictures):
        alone = pipeline(one, generator=[generator(i)], **options).audios
        np.testing.assert_allclose(alone[0], both[i], atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 1e-4


def test_frames_of_a_video_are_one_direction_in_any_order(pipeline: VisionToAudioPipeline) -> None:
    frames = [picture(i) for i in range(4)]
    mean = pipeline.encode_image(frames, as_video=True)
    torch.testing.assert_close(mean, pipeline.encode_image(frames[::-1], as_video=True))
    torch.testing.assert_close(pipeline.encode_image([frames[0]] * 3, as_video=True), pipeline.encode_image(frames[:1]))
    by_hand = torch.nn.functional.normalize(pipeline.encode_image(frames).mean(0, keepdim=True), dim=1)
    torch.testing.assert_close(mean, by_hand)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_pictures_of_any_mode_are_seen(pipeline: VisionToAudioPipeline, mode: str) -> None:
    assert pipeline.encode_image([picture(0, mode)]).shape == (1, SEEN)


def test_a_generative_mapper_draws_a_new_embedding_for_each_sound(pipeline: VisionToAudioPipeline) -> None:
    pipeline.register_modules(mapper=tiny_prior())
    options = {"num_inference_steps": 1, "audio_length_in_s": 0.1, "mapper_steps": 3, "mapper_guidance_scale": 1.5}
    out = pipeline(picture(0), num_waveforms_per_image=2, generator=generator(0), **options)
    assert out.audio_embeds.shape == (2, WIDTH)
    assert not torch.allclose(out.audio_embeds[0], out.audio_embeds[1])
    again = pipeline(picture(0), num_waveforms_per_image=2, generator=generator(0), **options)
    np.testing.assert_array_equal(out.audios, again.audios)


def test_a_prompt_takes_its_share(pipeline: VisionToAudioPipeline) -> None:
    options = {"num_inference_steps": 1, "audio_length_in_s": 0.1, "generator": generator(0), "prompt": "a bell"}
    text = pipeline.encode_prompt(["a bell"])
    alone = pipeline(picture(0), prompt_weight=1.0, **options)
    torch.testing.assert_close(alone.audio_embeds, text)
    none = pipeline(picture(0), prompt_weight=0.0, **options)
    half = pipeline(picture(0), prompt_weight=0.5, **options)
    middle = torch.nn.functional.normalize(none.audio_embeds + text, dim=1)
    torch.testing.assert_close(half.audio_embeds, middle)


@pytest.mark.parametrize("generative", [False, True])
def test_the_whole_pipeline_comes_back_from_its_folder(
    pipeline: VisionToAudioPipeline, generative: bool, tmp_path: Path
) -> None:
    if generative:
        pipeline.register_modules(mapper=tiny_prior())
    options = {"num_inference_steps": 2, "audio_length_in_s": 0.1}
    before = pipeline(picture(0), generator=generator(0), **options).audios
    pipeline.save_pretrained(tmp_path)
    again = VisionToAudioPipeline.from_pretrained(tmp_path)
    assert type(again.mapper) is type(pipeline.mapper)
    again.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(again(picture(0), generator=generator(0), **options).audios, before)


def test_what_is_missing_is_named(generator_only: VisionToAudioPipeline) -> None:
    with pytest.raises(ValueError, match="no mapper"):
        generator_only(picture(0))
    with pytest.raises(ValueError, match="exactly one of image, video, image_embeds, audio_embeds; got none"):
        generator_only()
    with pytest.raises(ValueError, match="no image_encoder"):
        generator_only.encode_image([picture(0)])
    generator_only.register_modules(text_encoder=None, tokenizer=None)
    with pytest.raises(ValueError, match="guidance need"):
        generator_only(audio_embeds=torch.ones(1, WIDTH))
    with pytest.raises(ValueError, match=r"latents must have shape \[1, 4, 16, 4\]"):
        generator_only(audio_embeds=torch.ones(1, WIDTH), guidance_scale=1, latents=torch.zeros(1, 4, 2, 4))


def test_frozen_parts_stay_as_they_are(pipeline: VisionToAudioPipeline) -> None:
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    before = {name: [p.clone() for p in part.parameters()] for name, part in parts.items()}
    pipeline(picture(0), num_inference_steps=1, audio_length_in_s=0.1, generator=generator(0))
    for name, part in parts.items():
        assert not part.training
        assert all(torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True))


def test_the_slider_goes_from_one_mapper_to_the_other(pipeline: VisionToAudioPipeline) -> None:
    seen = torch.randn(1, SEEN, generator=generator(5))
    options = {"num_inference_steps": 1, "audio_length_in_s": 0.1, "guidance_scale": 1, "image_embeds": seen}
    with pytest.raises(ValueError, match="blend needs a second mapper"):
        pipeline(blend=0.5, **options)
    torch.manual_seed(7)
    pipeline.register_modules(regression_mapper=RegressionMapper(SEEN, WIDTH).eval())
    first, last = pipeline.mapper.translate(seen), pipeline.regression_mapper.translate(seen)
    torch.testing.assert_close(pipeline(blend=0.0, **options).audio_embeds, first)
    torch.testing.assert_close(pipeline(blend=1.0, **options).audio_embeds, last)
    middle = pipeline(blend=0.5, **options).audio_embeds
    torch.testing.assert_close((middle * first).sum(), (middle * last).sum())


def test_windows_that_are_all_the_same_sound_as_one_where_a_tile_suffices(
    generator_only: VisionToAudioPipeline,
) -> None:
    options = {"num_inference_steps": 2, "audio_length_in_s": 0.64}
    embeds = torch.randn(1, WIDTH, generator=generator(6))
    plain = generator_only(audio_embeds=embeds, generator=generator(0), **options).audios
    same = generator_only(audio_embeds=embeds[:, None].expand(-1, 3, -1), generator=generator(0), **options).audios
    np.testing.assert_allclose(same, plain, atol=1e-5)


def test_windows_sound_like_their_own_embedding_and_may_go_on_for_long(generator_only: VisionToAudioPipeline) -> None:
    first, last = torch.randn(2, 1, WIDTH, generator=generator(6)).unbind()
    options = {"num_inference_steps": 2, "audio_length_in_s": 3.2, "tile_length_in_s": 0.32}
    both, ones, others = (
        generator_only(audio_embeds=embeds, generator=generator(0), **options).audios[0]
        for embeds in (torch.stack([first, last], 1), first[:, None], last[:, None])
    )
    assert len(both) == 51_200
    near = slice(0, 8_000), slice(-8_000, None)
    for here, like, unlike in ((near[0], ones, others), (near[1], others, ones)):
        assert np.abs(both[here] - like[here]).mean() < 0.5 * np.abs(both[here] - unlike[here]).mean()


def test_a_gain_of_frames_is_heard(generator_only: VisionToAudioPipeline) -> None:
    options = {"audio_embeds": torch.ones(1, WIDTH), "num_inference_steps": 1, "audio_length_in_s": 0.64}
    plain = generator_only(generator=generator(0), **options).audios
    none = generator_only(generator=generator(0), frame_gain=torch.zeros(3), **options).audios
    np.testing.assert_array_equal(plain, none)
    gain = torch.cat([torch.zeros(32), torch.full((1,), -5.0)])
    gated = generator_only(generator=generator(0), frame_gain=gain, **options).audios
    np.testing.assert_allclose(gated[:, :3_000], plain[:, :3_000], atol=1e-5)
    assert np.abs(gated[:, -3_000:] - plain[:, -3_000:]).max() > 1e-3
