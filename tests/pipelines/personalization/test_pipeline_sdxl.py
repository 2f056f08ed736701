"""Stable Diffusion XL, against diffusers' own pipeline: two text encoders, pooled embedding, layers and blocks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file

from mappers.neti import NeTIMapper, TextualInversionMapper
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization.concepts import Concept
from pipelines.personalization.exports import averaged_mapper, export_concept
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig

TOKEN = "<cat>"


def draw(pipeline: NeTIPipeline, prompt: str, **options: Any) -> np.ndarray:
    noise = torch.Generator().manual_seed(0)
    return np.asarray(
        pipeline(prompt, num_inference_steps=3, output_type="np", generator=noise, **options).images
    )  # fmt: skip


def weights(pipeline: NeTIPipeline) -> list[torch.Tensor]:
    parts = (pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.vae)
    return [value.clone() for part in parts for value in part.state_dict().values()]


@pytest.fixture
def plain(tiny_sdxl: Path) -> StableDiffusionXLPipeline:
    loaded = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def know(pipeline: NeTIPipeline, mapper: torch.nn.Module, token: str = TOKEN) -> None:
    pipeline.load_concept(Concept(token, "toy", mapper, pipeline.base, "tiny"))


def neti(layers: int = 70, seed: int = 3) -> NeTIMapper:
    return NeTIMapper(layers, [16, 24], [20.0, 30.0], seed=seed)


def theirs(plain: StableDiffusionXLPipeline, prompt: str, **options: Any) -> np.ndarray:
    options = {"num_inference_steps": 3, "guidance_scale": 7.5, "height": 32, "width": 32, **options}
    return np.asarray(plain(prompt, output_type="np", generator=torch.Generator().manual_seed(0), **options).images)


def test_the_layout(sdxl: NeTIPipeline) -> None:
    assert sdxl.layers == 70
    assert max(sdxl.blocks) == 10
    assert sorted(sdxl.blocks) == list(sdxl.blocks)
    assert [sdxl.blocks.count(block) for block in range(11)] == [2, 2, 10, 10, 10, 10, 10, 10, 2, 2, 2]


def test_plain_prompts_are_encoded_as_diffusers_does(sdxl: NeTIPipeline, plain: StableDiffusionXLPipeline) -> None:
    prompts = ["a photo of a red cat", "a toy"]
    with torch.no_grad():
        context, _, pooled, _ = plain.encode_prompt(prompts, do_classifier_free_guidance=False)
    ours = sdxl.contexts(prompts).at(500.0)
    for layer in (0, -1):
        torch.testing.assert_close(ours.keys[layer], context, atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.keys, ours.values)
    torch.testing.assert_close(ours.pooled, pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("negative", [None, "", "blue snow"])
def test_without_a_concept_it_is_stable_diffusion_xl(
    sdxl: NeTIPipeline, plain: StableDiffusionXLPipeline, negative: str | None
) -> None:
    ours = draw(sdxl, "a red cat", negative_prompt=negative)
    np.testing.assert_allclose(ours, theirs(plain, "a red cat", negative_prompt=negative), atol=1e-4)


@pytest.mark.parametrize("layers", [70, 11])
def test_a_word_with_the_vectors_of_an_ordinary_one_draws_the_same(
    sdxl: NeTIPipeline, plain: StableDiffusionXLPipeline, layers: int
) -> None:
    """Pooled embedding included: at the placeholder no end mark is found, though the config says 2."""
    parts = sdxl.text.category_embedding("cat")
    mapper = TextualInversionMapper(layers, [16, 24], [1.0, 1.0], per_layer=True)
    mapper.start_at(torch.cat(parts))
    know(sdxl, mapper)
    ours = draw(sdxl, f"a red {TOKEN} on the beach")
    np.testing.assert_allclose(ours, theirs(plain, "a red cat on the beach"), atol=1e-4)
    assert np.abs(ours - draw(sdxl, "a red toy on the beach")).max() > 1e-3


def test_the_bypass_is_added_to_penultimate_states_of_each_encoder(sdxl: NeTIPipeline) -> None:
    mapper = neti()
    know(sdxl, mapper)
    made = sdxl.contexts([f"a {TOKEN}"]).at(300.0)
    position = sdxl.text.tokenize([f"a {TOKEN}"], [TOKEN])[0].positions[TOKEN][0]
    assert torch.equal((made.keys[7, 0] != made.values[7, 0]).any(-1), position)
    bypass = mapper(torch.tensor([300.0]), torch.tensor([7])).bypass
    assert bypass is not None
    for before, after, v in zip(
        *(x.split([16, 24], dim=-1) for x in (made.keys[7, 0][position], made.values[7, 0][position], bypass)),
        strict=True,
    ):
        torch.testing.assert_close(after, before + 0.2 * before.norm() * v / v.norm())


def test_heads_have_their_own_norms() -> None:
    word = neti()(torch.tensor([10.0, 900.0]), torch.tensor([3, 60]))
    assert word.bypass is not None
    for i, norm in enumerate((20.0, 30.0)):
        whole = torch.cat([part.split([16, 24], dim=1)[i] for part in (word.embedding, word.bypass)], dim=1)
        torch.testing.assert_close(whole.norm(dim=1), torch.full((2,), norm))


def test_a_block_shares_a_context_and_goes_with_words_for_layers(sdxl: NeTIPipeline) -> None:
    know(sdxl, neti(11))
    prompt = f"a {TOKEN}"
    alone = sdxl.contexts([prompt]).at(200.0)
    assert len(alone.keys) == 11
    assert alone.context_of_layer == sdxl.blocks
    picture = draw(sdxl, prompt)
    know(sdxl, neti(70, seed=8), "<dog>")
    together = sdxl.contexts([prompt]).at(200.0)
    assert len(together.keys) == 70
    for layer, block in enumerate(sdxl.blocks):
        torch.testing.assert_close(together.keys[layer], alone.keys[block], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(draw(sdxl, prompt), picture, atol=1e-4)
    with pytest.raises(ValueError, match="one word has 11 layers, the other 70"):
        sdxl.concepts[TOKEN].mix(sdxl.concepts["<dog>"], layers=[0])


@pytest.mark.parametrize(("layers", "method"), [("layer", "neti"), ("block", "neti"), ("block", "textual-inversion")])
def test_learns_generates_and_unloads(tiny_sdxl: Path, tmp_path: Path, layers: Any, method: Any) -> None:
    base = NeTIPipeline.from_model(tiny_sdxl, device="cpu")
    base.set_progress_bar_config(disable=True)
    before, picture = weights(base), draw(base, "a toy")
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    train = TrainConfig(steps=3, batch_size=2, learning_rate=3e-2, log_every=1)
    config = PersonalizeConfig(layers=layers, method=method, flip=0.0, train=train)
    learned = personalize([photo], TOKEN, model=tiny_sdxl, category="toy", config=config)
    mapper = learned.concepts[TOKEN].mapper
    assert mapper.layers == (11 if layers == "block" else 70)
    assert mapper.widths == [16, 24]
    learned.set_progress_bar_config(disable=True)
    with_word = draw(learned, f"a {TOKEN}")
    assert np.abs(with_word - draw(learned, "a toy")).max() > 1e-3
    base.load_concept(learned.save_concept(TOKEN, tmp_path / "concept.safetensors"))
    np.testing.assert_array_equal(draw(base, f"a {TOKEN}"), with_word)
    base.unload_concept(TOKEN)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(base), strict=True))
    np.testing.assert_array_equal(draw(base, "a toy"), picture)


def test_the_two_part_file_is_what_diffusers_takes(
    sdxl: NeTIPipeline, plain: StableDiffusionXLPipeline, tmp_path: Path
) -> None:
    know(sdxl, neti(11))
    assert set(export_concept(sdxl, TOKEN, tmp_path)) == {"xti", "sdxl"}
    assert set(load_file(tmp_path / "xti.safetensors")) == set(sdxl.cross_attentions)
    parts = load_file(tmp_path / "sdxl.safetensors")
    for name, encoder, tokenizer in (
        ("clip_l", plain.text_encoder, plain.tokenizer),
        ("clip_g", plain.text_encoder_2, plain.tokenizer_2),
    ):
        plain.load_textual_inversion(parts[name], token=TOKEN, text_encoder=encoder, tokenizer=tokenizer)
    # An added word's id is above that of the end mark, which a config that says 2 takes for the highest.
    plain.text_encoder_2.text_model.eos_token_id = plain.tokenizer_2.eos_token_id
    single = averaged_mapper(sdxl.concepts[TOKEN].mapper, per_layer=False)
    know(sdxl, single)
    np.testing.assert_allclose(draw(sdxl, f"a {TOKEN} toy"), theirs(plain, f"a {TOKEN} toy"), atol=1e-4)


def test_wrong_pairs_are_refused(sdxl: NeTIPipeline, pipeline: NeTIPipeline, tiny_sdxl: Path, tmp_path: Path) -> None:
    small = Concept("<small>", "toy", NeTIMapper(16, 16, 20.0), pipeline.base, "sd1")
    large = Concept("<large>", "toy", neti(), sdxl.base, "xl")
    with pytest.raises(ValueError, match=r"<large> .*\(xl\): 70 cross-attention layers and 40-wide .* has 16 and 16"):
        pipeline.load_concept(large)
    with pytest.raises(ValueError, match=r"<small> .*\(sd1\): 16 cross-attention layers and 16-wide .* has 70 and 40"):
        sdxl.load_concept(small)
    with pytest.raises(ValueError, match="<small> cannot be mixed into <large>"):
        large.mix(small, layers=[0])
    other = dataclasses.replace(sdxl.base, sketch=[*sdxl.base.sketch[:16], 9.0, *sdxl.base.sketch[17:]])
    with pytest.raises(ValueError, match="other weights"):
        sdxl.load_concept(dataclasses.replace(large, base=other))
    parts = sdxl.components
    with pytest.raises(ValueError, match="Stable Diffusion XL's kind, but the model has no text_encoder_2"):
        NeTIPipeline(**parts | {"text_encoder_2": None})
    with pytest.raises(ValueError, match="text encoders are 16 wide together, the UNet reads 24"):
        NeTIPipeline(**pipeline.components | {"unet": _reads(pipeline, 24)})


def _reads(pipeline: NeTIPipeline, width: int) -> Any:
    return type(pipeline.unet).from_config({**pipeline.unet.config, "cross_attention_dim": width})


def test_half_precision_on_the_cpu(tiny_sdxl: Path) -> None:
    half = NeTIPipeline.from_model(tiny_sdxl, device="cpu", dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    know(half, neti())
    assert np.isfinite(draw(half, f"a {TOKEN}")).all()


def test_components_alone_draw_as_the_pipeline_does(plain: StableDiffusionXLPipeline) -> None:
    """Whether an empty prompt is zeros is a setting of the pipeline, not a component."""
    rebuilt = NeTIPipeline(**plain.components)
    rebuilt.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(draw(rebuilt, "a cat"), theirs(plain, "a cat"), atol=1e-4)
