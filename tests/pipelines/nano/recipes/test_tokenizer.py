"""The tokenizer of the nano models: whole words of the world, and any other text."""

from __future__ import annotations

from pipelines.nano import world
from pipelines.nano.train import shared_tokenizer


def test_tokenizer_knows_the_words_of_the_world_and_any_other() -> None:
    tokenizer = shared_tokenizer()
    for words in (world.COLORS, world.SUBSET, ("beach", "snow", "stripes", "watercolor", "two")):
        for word in " ".join(words).split():
            assert len(tokenizer.tokenize(word)) == 1, word
    assert tokenizer.unk_token_id not in tokenizer("zyx Ünïcödé 漢字!", add_special_tokens=False).input_ids
    ids = tokenizer("a red cat", padding="max_length").input_ids
    assert (ids[0], ids[4], len(ids)) == (tokenizer.bos_token_id, tokenizer.eos_token_id, 24)
