"""The recipe of nano-clap: tokenizer, inputs and losses in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mappers.training.draws import Draws
from pipelines.nano.recipes.clap import (
    CLAPTask,
    build_extractor,
    features_of,
    multi_positive_loss,
    train_text_tokenizer,
)
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips, all_captions


def draws(count: int) -> Draws:
    return Draws(0, 0, range(count))


def test_every_caption_of_a_sound_has_its_tokens_and_any_text_can_be_said() -> None:
    tokenizer = train_text_tokenizer()
    assert max(len(tokenizer(text).input_ids) for text in all_captions()) <= 16
    assert tokenizer.unk_token_id not in tokenizer("zyx Ünïcödé 漢字!").input_ids
    assert tokenizer.decode(tokenizer("a bell").input_ids, skip_special_tokens=True) == "a bell"


def test_spectrograms_fill_the_audio_tower_exactly(clips: Clips) -> None:
    extractor = build_extractor()
    features = features_of(extractor, clips.waves(slice(0, 2)))
    assert features.shape == (2, 1, 256, 64)
    short = features_of(extractor, clips.waves(slice(0, 2))[:, :8000])
    assert short.shape == (2, 1, 256, 64)
    assert torch.equal(features, features_of(extractor, clips.waves(slice(0, 2))))
    with pytest.raises(ValueError, match="sampling rate"):
        extractor(np.zeros(100), sampling_rate=48_000)


def test_matching_loss_spreads_over_all_that_fits() -> None:
    fits = torch.tensor([[True, True, False], [False, True, False], [True, False, True]])
    assert multi_positive_loss(torch.zeros(3, 3), fits).item() == pytest.approx(np.log(3))
    sure = torch.where(fits, 50.0, -50.0)
    assert multi_positive_loss(sure, fits).item() == pytest.approx((np.log(2) + 0 + np.log(2)) / 3, abs=1e-5)


def test_clap_loss_of_a_fresh_model_is_that_of_chance(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("clap", clips, clips)
    assert isinstance(task, CLAPTask)
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws(16)), draws(16))
    assert losses["contrastive"].item() == pytest.approx(np.log(16), abs=0.5)
    assert losses["naming"].item() == pytest.approx(np.log(32), abs=0.5)
    found = task.validate(task.modules, 0)
    assert 0 <= found["named"] <= 1


def test_clap_takes_every_true_caption_for_right(clips: Clips) -> None:
    task = build_task("clap", clips, clips)
    assert isinstance(task, CLAPTask)
    batch = task.batch(draws(24))
    assert batch["fits"].diagonal().all()
    assert batch["fits"].sum() > 24  # loose captions and objects that come twice
    same = batch["ways"][:, None] // 2 == batch["ways"] // 2
    empty = batch["tokens"]["attention_mask"].sum(1) == 2
    assert not (batch["fits"] & ~same)[:, ~empty].any()
