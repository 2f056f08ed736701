"""Which prompt each row of a batch follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.personalization.prompt_batch import PromptBatch


def batch(prompt: str | list[str], negative: str | list[str] | None, per_prompt: int = 1, **given: Any) -> PromptBatch:
    options = {"guided": True, "empty": "", "device": torch.device("cpu"), **given}
    return PromptBatch.of(prompt, negative, per_prompt, **options)


def test_rows_to_move_away_from_come_first() -> None:
    made = batch(["a", "b"], "blue", 2)
    assert (made.texts, made.rows.tolist(), made.count) == (("a", "b", "blue"), [2, 2, 2, 2, 0, 0, 1, 1], 4)
    assert batch(["a", "b"], ["c", "d"], 2).rows.tolist() == [2, 2, 3, 3, 0, 0, 1, 1]
    assert batch("a", None, empty=None).texts == ("a", None)


def test_without_guidance_nothing_is_moved_away_from() -> None:
    made = batch(["a", "b"], "blue", 2, guided=False)
    assert (made.texts, made.rows.tolist(), made.count) == (("a", "b"), [0, 0, 1, 1], 4)


def test_rows_in_a_larger_list_of_prompts() -> None:
    assert batch("a", "").rows_in(["", "b", "a"]).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([], None, 1), "prompt is empty"),
        (("a", ["b", "c"], 1), "negative_prompt has 2 entries for 1 prompts"),
        (("a", None, 0), "num_images_per_prompt must be at least 1, got 0"),
    ],
)
def test_bad_arguments(given: tuple[Any, Any, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch(*given)
