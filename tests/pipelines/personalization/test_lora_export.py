"""A word as a LoRA: what it keeps, what it leaves alone, and that programs without mappers read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from mappers.neti import NeTIMapper
from pipelines.personalization import lora_export
from pipelines.personalization.concepts import Concept
from pipelines.personalization.exports import averaged_mapper
from pipelines.personalization.pipeline import NeTIPipeline

TOKEN = "<cat>"


def know(pipeline: NeTIPipeline) -> None:
    widths, norms = pipeline.text.widths, [20.0] * len(pipeline.text.widths)
    one = len(widths) == 1
    mapper = NeTIMapper(pipeline.layers, widths[0] if one else widths, norms[0] if one else norms, seed=3).eval()
    pipeline.load_concept(Concept(TOKEN, "toy", mapper, pipeline.base, "tiny"))


def test_it_keeps_more_than_the_vector_and_leaves_other_prompts(pipeline: NeTIPipeline, tmp_path: Path) -> None:
    know(pipeline)
    before = [weight.clone() for weight in pipeline.unet.parameters()]
    shares = lora_export.export_lora(pipeline, TOKEN, tmp_path)
    assert shares["kept"] > shares["vector"]
    assert shares["others"] < 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, pipeline.unet.parameters(), strict=True))
    for name in lora_export.FILES.values():
        assert (tmp_path / name).stat().st_size <= 2_000_000


def test_names_are_those_of_diffusers_and_kohya(pipeline: NeTIPipeline, sdxl: NeTIPipeline) -> None:
    for base, known in ((pipeline, "down_blocks_1_attentions_0_"), (sdxl, "input_blocks_4_1_")):
        names = [f"{name}.{leaf}" for name in base.cross_attentions for leaf in ("to_k", "to_v")]
        updates = {name: lora_export.Update(torch.rand(3, 2), torch.rand(2, 4)) for name in names}
        first, second = (lora_export.lora_tensors(updates, layout, base) for layout in lora_export.FILES)
        assert len(first) == 4 * base.layers
        assert len(second) == 6 * base.layers
        own = f"lora_unet_{known}transformer_blocks_0_attn2_to_k"
        plain = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
        assert torch.equal(second[f"{own}.lora_down.weight"], first[f"{plain}.lora_A.weight"])
        assert torch.equal(second[f"{own}.lora_up.weight"], first[f"{plain}.lora_B.weight"])
        assert float(second[f"{own}.alpha"]) == len(first[f"{plain}.lora_A.weight"])


def test_diffusers_draws_with_it(pipeline: NeTIPipeline, tiny_model: Path, tmp_path: Path) -> None:
    """In either layout it is the change that was measured."""
    pytest.importorskip("peft")
    know(pipeline)
    lora_export.export_lora(pipeline, TOKEN, tmp_path)
    vector = averaged_mapper(pipeline.concepts[TOKEN].mapper, per_layer=False)
    updates = lora_export.fit_updates(pipeline, TOKEN, vector)
    pipeline.concepts[TOKEN].mapper = vector
    options = {"num_inference_steps": 2, "output_type": "latent"}
    with lora_export.updated(pipeline.unet, updates):
        want = pipeline(f"a {TOKEN} toy", generator=torch.Generator().manual_seed(0), **options).images
    for name in lora_export.FILES.values():
        plain = StableDiffusionPipeline.from_pretrained(tiny_model)
        plain.set_progress_bar_config(disable=True)
        plain.load_textual_inversion(str(tmp_path / "learned_embeds.safetensors"), token=TOKEN)
        alone = plain(f"a {TOKEN} toy", generator=torch.Generator().manual_seed(0), **options).images
        plain.load_lora_weights(tmp_path, weight_name=name)
        made = plain(f"a {TOKEN} toy", generator=torch.Generator().manual_seed(0), **options).images
        assert (made - want).abs().max() < 0.05 * (alone - want).abs().max()
