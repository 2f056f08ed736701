"""The nano audio models as they ship: they load with plain libraries, fit together, and do what their card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ClapModel, ClapProcessor

from mappers.embedding_cache import space_id
from mappers.hub import embedded_models, resolve
from pipelines.audio.clap import Clap, clap_space
from pipelines.audio.metrics import recall_at
from pipelines.audio.pipeline import VisionToAudioPipeline
from pipelines.nano.recipes.audio_mappers import embed_moments
from pipelines.nano.recipes.clap import measure_clap
from pipelines.nano.recipes.mel_vae import mels_of
from pipelines.nano.world.moments import NAMES, numbered_moment

FRESH = 12_345
"""Seed that no training drew from."""


@pytest.fixture(scope="module")
def pipeline() -> VisionToAudioPipeline:
    loaded = VisionToAudioPipeline.from_pretrained(resolve("nano-audio", "vision-to-audio"))
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def clap() -> Clap:
    return Clap.from_folder(resolve("nano-clap", "CLAP"))


def test_the_folders_are_small_and_licensed_and_name_no_folder() -> None:
    models = [model for model in embedded_models() if model.id in ("nano-audio", "nano-clap")]
    assert len(models) == 2
    assert sum(model.size for model in models) <= 16e6
    for model in models:
        assert model.size < 2.3 * model.parameters  # fp16, but for a few integers and headers
        assert "Apache License" in (model.folder / "LICENSE").read_text(encoding="utf-8")
        for path in model.folder.rglob("*.json"):
            text = path.read_text(encoding="utf-8")
            assert "_name_or_path" not in text, path
            assert str(Path(__file__).parents[3]) not in text, path


def test_every_part_is_there_in_full_precision(pipeline: VisionToAudioPipeline) -> None:
    assert all(part is not None for part in pipeline.components.values())
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {part.dtype for part in modules} == {torch.float32}
    assert not any(part.training for part in modules)


def test_mappers_belong_to_the_models_beside_them(pipeline: VisionToAudioPipeline, clap: Clap) -> None:
    assert clap.space_id == clap_space(pipeline.text_encoder)
    for mapper in (pipeline.mapper, pipeline.regression_mapper):
        mapper.check_spaces(space_id(pipeline.image_encoder), clap.space_id)
        with pytest.raises(ValueError, match="trained with the source model"):
            mapper.check_spaces("another", clap.space_id)


def test_nano_clap_loads_with_its_processor_and_names_sounds(clap: Clap) -> None:
    assert isinstance(ClapModel.from_pretrained(resolve("nano-clap", "CLAP")), ClapModel)
    assert ClapProcessor.from_pretrained(resolve("nano-clap", "CLAP")).feature_extractor.sampling_rate == 16_000
    moments = [numbered_moment(FRESH, index) for index in range(48)]
    found = measure_clap(clap, clap.embed_sounds([moment.sound() for moment in moments], 16_000), moments)
    assert found["named"] >= 0.95
    assert found["text_recall"] >= 0.7
    once, again = (clap.embed_sounds([moments[0].sound()], 16_000) for _ in range(2))
    assert torch.equal(once, again)


@torch.no_grad()
def test_the_autoencoder_keeps_fresh_sounds(pipeline: VisionToAudioPipeline) -> None:
    mels = mels_of(torch.from_numpy(np.stack([numbered_moment(FRESH, index).sound() for index in range(16)])))
    posterior = pipeline.vae.encode(mels).latent_dist
    assert (pipeline.vae.decode(posterior.mode()).sample - mels).abs().mean() <= 0.20
    channels = posterior.mode().var((0, 2, 3)) + posterior.var.mean((0, 2, 3))
    torch.testing.assert_close(channels, torch.ones(8), atol=0.15, rtol=0)


def test_mappers_cross_the_gap_between_pictures_and_sounds(pipeline: VisionToAudioPipeline, clap: Clap) -> None:
    asked, gallery = ([numbered_moment(FRESH + seed, index) for index in range(64)] for seed in (0, 1))
    classes, known = (np.array([NAMES.index(m.name) for m in some]) for some in (asked, gallery))
    sounds = clap.embed_sounds([moment.sound() for moment in gallery], 16_000).numpy()
    pictures = embed_moments(pipeline.image_encoder, pipeline.feature_extractor, asked)
    assert recall_at(1, pictures.numpy(), classes, sounds, known) <= 0.25
    for mapper in (pipeline.mapper, pipeline.regression_mapper):
        generator = torch.Generator().manual_seed(0) if mapper.generative else None
        mapped = mapper.translate(pictures, generator=generator).numpy()
        assert recall_at(1, mapped, classes, sounds, known) >= 0.85


def test_pictures_sound_like_what_they_show(pipeline: VisionToAudioPipeline, clap: Clap) -> None:
    """By nano-clap, in few steps; the independent judge is in ``benchmarks``."""
    moments = [numbered_moment(FRESH, index) for index in range(16)]
    pictures = [Image.fromarray(moment.picture()) for moment in moments]
    out = pipeline(pictures, num_inference_steps=5, generator=torch.Generator().manual_seed(0))
    assert out.audios.shape == (16, 40_960)
    assert out.sampling_rate == 16_000
    assert np.isfinite(out.audios).all()
    texts = clap.embed_texts([f"the sound of {moment.sound_caption().partition('sound of ')[2]}" for moment in moments])
    named = clap.embed_sounds(list(out.audios), 16_000) @ texts.T
    assert (named.argmax(1) == torch.arange(16)).float().mean() >= 0.5
