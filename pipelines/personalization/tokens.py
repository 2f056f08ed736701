"""Tokens of learned words and categories."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel


def token_table(text_encoder: CLIPTextModel) -> Float[Tensor, "v d"]:
    """The input embeddings of all tokens."""
    return cast(nn.Embedding, text_encoder.get_input_embeddings()).weight.detach()


def category_embedding(tokenizer: Any, text_encoder: CLIPTextModel, category: str) -> Float[Tensor, " d"]:
    """The input embedding of a category word; of several words or pieces their mean.

    Raises:
        ValueError: the category is empty.
    """
    ids = tokenizer(category, add_special_tokens=False).input_ids
    if not ids:
        raise ValueError("category must be a word that says what the pictures show, such as 'toy'; got an empty one")
    return token_table(text_encoder)[ids].float().mean(0)


def split_at_tokens(prompt: str, tokens: Sequence[str]) -> list[tuple[str, str | None]]:
    """A prompt in pieces: text with None, and words as they are written with the token that each is.

    A word is found in any capitals, as the text encoder sees none. It is not found within a longer word: "cat1" is not
    in "cat10", but "<cat>" is in "<cat>s". Of tokens that begin alike the longest counts.
    """
    if not tokens:
        return [(prompt, None)]
    ordered = sorted(tokens, key=len, reverse=True)
    pieces, end = list[tuple[str, str | None]](), 0
    for found in re.finditer("|".join(map(_whole_word, ordered)), prompt, flags=re.IGNORECASE):
        pieces += [(prompt[end : found.start()], None), (found[0], ordered[(found.lastindex or 0) - 1])]
        end = found.end()
    return [*pieces, (prompt[end:], None)]


def _whole_word(token: str) -> str:
    # Of ASCII letters alone: other scripts write words without spaces between them.
    letter = r"[A-Za-z0-9_]"
    before, after = (re.match(letter, edge) is not None for edge in (token[0], token[-1]))
    return (f"(?<!{letter})" if before else "") + f"({re.escape(token)})" + (f"(?!{letter})" if after else "")


def check_token(token: str, tokenizer: Any) -> None:
    """Refuse a token that cannot name a new word.

    Raises:
        ValueError: it is empty, has spaces, control characters or the tokenizer's marks, or is a word of the
            vocabulary.
    """
    if not token or not token.strip():
        raise ValueError("token is empty; choose a new word such as '<my-cat>'")
    if any(letter.isspace() for letter in token):
        raise ValueError(f"token {token!r} has spaces in it; write it as one word, such as '<my-cat>'")
    if any(unicodedata.category(letter) == "Cc" for letter in token):
        raise ValueError(f"token {token!r} has control characters in it; choose another, such as '<my-cat>'")
    marks = [mark for mark in tokenizer.all_special_tokens if mark in token]
    if marks:
        raise ValueError(
            f"token {token!r} has the tokenizer's mark {marks[0]} in it; choose another, such as '<my-cat>'"
        )
    if len(tokenizer(token, add_special_tokens=False).input_ids) == 1:
        raise ValueError(
            f"token {token!r} is a word that the model already knows; choose a new one, such as '<{token}>'"
        )
