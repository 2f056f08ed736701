"""Where learned words stand in prompts, and which words may be learned."""

from __future__ import annotations

import pytest

from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.tokens import check_token, split_at_tokens


@pytest.mark.parametrize(
    ("prompt", "tokens", "found"),
    [
        ("a mytoy1, a mytoy10, a tommytoy1s", ["mytoy1"], ["mytoy1"]),
        ("a <my-toy>s", ["<my-toy>"], ["<my-toy>"]),
        ("a <My-Toy> and A MYTOY1", ["<my-toy>", "mytoy1"], ["<my-toy>", "mytoy1"]),
        ("<cat>s <cat>", ["<cat>", "<cat>s"], ["<cat>s", "<cat>"]),
        ("一只小狗狗在", ["小狗狗"], ["小狗狗"]),
        ("a $x^", ["$x^"], ["$x^"]),
        ("nothing", [], []),
    ],
)  # fmt: skip
def test_words_are_found_whole_and_in_any_capitals(prompt: str, tokens: list[str], found: list[str]) -> None:
    pieces = split_at_tokens(prompt, tokens)
    assert "".join(piece for piece, _ in pieces) == prompt
    assert [token for _, token in pieces if token is not None] == found


@pytest.mark.parametrize(("token", "why"), [("<a\x01b>", "control characters"), ("<|endoftext|>x", "mark")])
def test_tokens_that_break_prompts_are_refused(pipeline: NeTIPipeline, token: str, why: str) -> None:
    pipeline.tokenizer.add_special_tokens({"pad_token": "<|endoftext|>"})
    with pytest.raises(ValueError, match=why):
        check_token(token, pipeline.tokenizer)
