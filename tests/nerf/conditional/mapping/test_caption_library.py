"""Libraries of captions and pictures have no held-out pairs, and the closed form is fitted to one."""

from __future__ import annotations

import pytest
import torch

from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families.splits import split_of
from nerf.conditional.mapping.caption_library import build_library, fit_ridge


def test_a_library_holds_true_pairs_that_are_not_held_out(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    known = build_library(untrained, tiny_clip, 40, pictures=0.25, seed=1)
    held = split_of(untrained.family, 6, 5).held_out_pairs
    assert not held[known.shape, known.palette].any()
    assert [bool(prompt) for prompt in known.prompts] == [False] * 10 + [True] * 30
    torch.testing.assert_close(known.embedding[10:], tiny_clip.embed_texts(known.prompts[10:]))
    assert torch.equal(known.embedding, build_library(untrained, tiny_clip, 40, pictures=0.25, seed=1).embedding)
    with pytest.raises(ValueError, match="a library needs 1 entry or more"):
        build_library(untrained, tiny_clip, 0)


def test_the_closed_form_stores_the_ids_of_field_and_clip(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    mapper = fit_ridge(untrained, tiny_clip, count=20)
    mapper.check_spaces(untrained.space, tiny_clip.space)
    with pytest.raises(ValueError, match="trained with the field"):
        mapper.check_spaces("another", tiny_clip.space)
