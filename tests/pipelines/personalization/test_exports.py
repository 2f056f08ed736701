"""Words as plain vectors: what the vectors are, who can read the files, and what is said to be lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from mappers.neti import NeTIMapper, TextualInversionMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.exports import averaged_mapper, export_concept, fidelity
from pipelines.personalization.pipeline import NeTIPipeline

TOKEN = "<cat>"


def know(pipeline: NeTIPipeline, mapper: torch.nn.Module) -> None:
    pipeline.load_concept(Concept(TOKEN, "toy", mapper.eval(), pipeline.base, "tiny"))


def test_means_of_a_word_that_never_changes_are_that_word() -> None:
    vectors = torch.randn(5, 8)
    layered = TextualInversionMapper(5, 8, 1.0, per_layer=True)
    layered.vectors.data = vectors
    torch.testing.assert_close(averaged_mapper(layered, per_layer=True).vectors, vectors)
    single = averaged_mapper(layered, per_layer=False).vectors
    torch.testing.assert_close(single.norm(), vectors.norm(dim=1).mean())
    torch.testing.assert_close(torch.cosine_similarity(single[0], vectors.mean(0), dim=0), torch.tensor(1.0))


def test_files_are_read_by_diffusers_and_draw_what_the_vector_draws(
    pipeline: NeTIPipeline, tiny_model: Path, tmp_path: Path
) -> None:
    know(pipeline, NeTIMapper(16, 16, 20.0, seed=3))
    kept = export_concept(pipeline, TOKEN, tmp_path)
    assert set(kept) == {"xti", "diffusers", "a1111"}
    vector = averaged_mapper(pipeline.concepts[TOKEN].mapper, per_layer=False)
    layered = load_file(tmp_path / "xti.safetensors")
    assert len(layered) == 16
    assert set(layered) == set(pipeline.cross_attentions)
    know(pipeline, vector)
    options = {"num_inference_steps": 3, "output_type": "np"}
    ours = pipeline(f"a {TOKEN} toy", generator=torch.Generator().manual_seed(0), **options).images
    for name in ("learned_embeds.safetensors", "a1111.safetensors"):
        plain = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None, requires_safety_checker=False)
        plain.set_progress_bar_config(disable=True)
        plain.load_textual_inversion(str(tmp_path / name), token=TOKEN)
        theirs = plain(f"a {TOKEN} toy", generator=torch.Generator().manual_seed(0), **options).images
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_fidelity_is_one_for_the_word_itself_and_nothing_for_its_category(pipeline: NeTIPipeline) -> None:
    know(pipeline, NeTIMapper(16, 16, 20.0, seed=3))
    mapper = pipeline.concepts[TOKEN].mapper
    category = TextualInversionMapper(16, 16, 1.0)
    ids = pipeline.tokenizer("toy", add_special_tokens=False).input_ids
    category.start_at(pipeline.text_encoder.get_input_embeddings().weight[ids].mean(0))
    kept = fidelity(pipeline, TOKEN, {"itself": mapper, "category": category})
    assert kept["itself"] == pytest.approx(1.0, abs=1e-4)
    assert kept["category"] == pytest.approx(0.0, abs=1e-4)
    assert pipeline.concepts[TOKEN].mapper is mapper
    with pytest.raises(ValueError, match="no concept '<dog>' is loaded"):
        export_concept(pipeline, "<dog>", ".")
