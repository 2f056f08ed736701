"""Prompts through text encoders: placeholders and the bypass, against the model's own forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from mappers.neti import Word
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.text_encoding import TokenizedPrompts, encode_rows, tokenize

from .test_inpainting import like

TOKEN = "<cat>"


def word(rows: int, *, bypass: bool = True, seed: int = 0) -> Word:
    generator = torch.Generator().manual_seed(seed)
    return Word(
        torch.randn(rows, 16, generator=generator),
        torch.randn(rows, 16, generator=generator) if bypass else None,
    )


def tokenized(pipeline: NeTIPipeline, *prompts: str) -> TokenizedPrompts:
    return tokenize(pipeline.tokenizer, prompts, [TOKEN], pipeline.tokenizer.model_max_length)


def test_prompts_without_the_token_are_tokenized_as_usual(pipeline: NeTIPipeline) -> None:
    prompts = ["a photo of a red cat", "", "two cat's, on the beach!"]
    ours = tokenized(pipeline, *prompts)
    length = pipeline.tokenizer.model_max_length
    usual = pipeline.tokenizer(prompts, padding="max_length", max_length=length, return_tensors="pt").input_ids
    assert torch.equal(ours.ids, usual)
    assert not ours.positions


def test_every_occurrence_is_found_in_its_row(pipeline: NeTIPipeline) -> None:
    ours = tokenized(pipeline, "a <cat>", "the <cat> on a <cat>'s beach", "a cat")
    rows = [row.nonzero().flatten().tolist() for row in ours.positions[TOKEN]]
    assert rows[0] == [2]
    assert len(rows[1]) == 2
    assert rows[2] == []
    assert ours.ids[0, 3] == pipeline.tokenizer.eos_token_id


def test_the_longer_of_two_tokens_wins(pipeline: NeTIPipeline) -> None:
    ours = tokenize(pipeline.tokenizer, ["a <cat>s"], ["<cat>", "<cat>s"], pipeline.tokenizer.model_max_length)
    assert list(ours.positions) == ["<cat>s"]


def test_a_long_prompt_is_refused(pipeline: NeTIPipeline) -> None:
    with pytest.raises(ValueError, match=r"has 32 tokens, the model reads 22; shorten it"):
        tokenized(pipeline, "red " * 31 + TOKEN)


def test_known_embedding_gives_the_models_own_encoding(pipeline: NeTIPipeline) -> None:
    """A word that says what the table says for "cat" must equal the prompt with "cat"."""
    cat = pipeline.tokenizer("cat", add_special_tokens=False).input_ids
    assert len(cat) == 1
    embedding = pipeline.text_encoder.get_input_embeddings().weight[cat].detach()
    with torch.no_grad():
        keys, values, _ = encode_rows(
            pipeline.text_encoder,
            tokenized(pipeline, "a red <cat> on the beach"),
            {TOKEN: Word(embedding, None)},
        )
        expected = pipeline.text_encoder(tokenized(pipeline, "a red cat on the beach").ids).last_hidden_state
    torch.testing.assert_close(keys, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(keys, values)


def test_the_bypass_changes_values_at_its_place_only_and_by_the_formula(pipeline: NeTIPipeline) -> None:
    prompts = tokenized(pipeline, "a <cat> on the beach")
    words = word(1)
    captured: list[torch.Tensor] = []
    norm = pipeline.text_encoder.final_layer_norm
    hook = norm.register_forward_pre_hook(lambda _m, args: captured.append(args[0].detach()))
    with torch.no_grad():
        keys, values, _ = encode_rows(pipeline.text_encoder, prompts, {TOKEN: words})
    hook.remove()
    position = prompts.positions[TOKEN]
    differs = (keys != values).any(-1)
    assert torch.equal(differs, position)
    before = captured[0][position]
    assert words.bypass is not None
    direction = words.bypass / words.bypass.norm(dim=1, keepdim=True)
    with torch.no_grad():
        expected = norm(before + 0.2 * before.norm(dim=1, keepdim=True) * direction)
    torch.testing.assert_close(values[position], expected)


def test_rows_before_the_word_do_not_depend_on_it(pipeline: NeTIPipeline) -> None:
    prompts = tokenized(pipeline, "a red <cat> on the beach")
    with torch.no_grad():
        a, *_ = encode_rows(pipeline.text_encoder, prompts, {TOKEN: word(1, seed=1)})
        b, *_ = encode_rows(pipeline.text_encoder, prompts, {TOKEN: word(1, seed=2)})
    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3:], b[:, 3:])


def test_several_vectors_of_one_token_take_as_many_places(pipeline: NeTIPipeline) -> None:
    pipeline.load_textual_inversion({"easynegative": torch.randn(3, 16)}, token="easynegative")
    first = len(pipeline.tokenizer) - 3
    ids = tokenized(pipeline, "a easynegative <cat>").ids[0].tolist()
    assert ids[2:5] == [first, first + 1, first + 2]
    theirs = like(StableDiffusionPipeline, pipeline)
    options: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np", "negative_prompt": "easynegative"}
    ours, expected = (
        drawing("a cat", generator=torch.Generator().manual_seed(0), **options).images for drawing in (pipeline, theirs)
    )
    np.testing.assert_allclose(ours, expected, atol=1e-4)
