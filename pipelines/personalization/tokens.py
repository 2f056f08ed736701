"""Tokens of learned words and categories."""

from __future__ import annotations

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


def check_token(token: str, tokenizer: Any) -> None:
    """Refuse a token that cannot name a new word.

    Raises:
        ValueError: it is empty, has spaces, or is a word of the vocabulary.
    """
    if not token or not token.strip():
        raise ValueError("token is empty; choose a new word such as '<my-cat>'")
    if any(letter.isspace() for letter in token):
        raise ValueError(f"token {token!r} has spaces in it; write it as one word, such as '<my-cat>'")
    if len(tokenizer(token, add_special_tokens=False).input_ids) == 1:
        raise ValueError(
            f"token {token!r} is a word that the model already knows; choose a new one, such as '<{token}>'"
        )
