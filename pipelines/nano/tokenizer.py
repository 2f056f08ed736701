"""The nano models' tokenizer: CLIP's byte-pair encoding, trained on the captions of the nano world."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

MAX_LENGTH = 24
"""Tokens of a prompt, with start and end marks; a caption of the world has at most 16."""
START, END = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocabulary_size: int = 1600) -> CLIPTokenizer:
    """Learn the merges on ``texts`` and return a CLIP tokenizer that uses them.

    Every byte is in the vocabulary, alone and as the end of a word, so any text can be encoded.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 2, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(merge) for merge in _merges(learner)]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def _merges(learner: Tokenizer) -> list[list[str]]:
    import json

    return json.loads(learner.to_str())["model"]["merges"]
