"""nano-clip-families: its words, its training data, and that the shipped model knows the families."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mappers.training.draws import Draws
from nerf.conditional.clip.models import OpenCLIPTowers
from nerf.conditional.clip.scorer import DEFAULT, Scorer, resized
from nerf.conditional.families import FAMILIES
from nerf.conditional.mapping.cameras import front_cameras
from pipelines.nano.recipes import clip_families as train_families
from pipelines.nano.recipes.clip_families import CaptionedPictures, FamiliesTask, families_tokenizer, save_open_clip
from pipelines.nano.train import build_task


@pytest.fixture(scope="module")
def task() -> FamiliesTask:
    torch.manual_seed(0)
    built = build_task("families")
    assert isinstance(built, FamiliesTask)
    return built


def test_every_word_of_the_families_is_one_token() -> None:
    tokenizer = families_tokenizer()
    for family in FAMILIES.values():
        words = [word for trait in family.traits for word in (*trait.low.split(), *trait.high.split())]
        for word in {*words, *family.parts, *family.colors, family.name.removesuffix("s")}:
            assert len(tokenizer.tokenize(word)) == 1, word


def test_a_fresh_model_guesses(task: FamiliesTask) -> None:
    draws = Draws(0, 0, range(8))
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws), draws)
    assert losses["contrastive"].item() == pytest.approx(math.log(8), abs=0.5)
    assert losses["reading"].item() == pytest.approx(0.5, abs=0.15)  # of a standard normal truth


def test_families_come_in_turn_and_halves_of_a_batch_draw_what_the_whole_draws(task: FamiliesTask) -> None:
    assert [task.batch(Draws(0, step, range(2))).family for step in range(3)] == ["chairs", "cars", "chairs"]
    whole, half = task.batch(Draws(0, 5, range(6))), task.batch(Draws(0, 5, range(3, 6)))
    assert torch.equal(whole.tokens[3:], half.tokens)
    torch.testing.assert_close(whole.pixels[3:], half.pixels)
    torch.testing.assert_close(whole.truth[3:], half.truth)


def test_equal_captions_are_right_for_each_other_s_pictures(task: FamiliesTask) -> None:
    """Four pictures, two captions: a model that tells the captions apart and no more can do no better than ln 2."""
    first = task.batch(Draws(0, 0, range(4)))
    batch = CaptionedPictures(first.family, first.pixels, first.tokens[[0, 0, 1, 1]], first.truth)
    kinds = torch.eye(128)[[0, 0, 1, 1]]
    read = torch.zeros(4, sum(map(len, task.columns.values())))
    seer = {"clip": lambda pixels, tokens: (kinds, kinds, torch.tensor(50.0), read, read)}
    losses = task.loss(seer, batch, Draws(0, 0, [0]))
    assert losses["contrastive"].item() == pytest.approx(math.log(2), abs=1e-4)


def test_every_other_group_has_one_palette(task: FamiliesTask) -> None:
    colors = task.batch(Draws(0, 0, range(32))).truth[:, -9:].view(4, 8, 9)
    assert (colors.std(1).amax(1) < 1e-6).tolist() == [False, True, False, True]


def test_a_saved_model_is_read_by_open_clip(task: FamiliesTask, tmp_path: Path) -> None:
    save_open_clip(task.clip.eval(), task.config, task.tokenizer, tmp_path)
    towers = OpenCLIPTowers(str(tmp_path))
    towers.model.eval()
    batch = task.captioned_pictures("cars", Draws(0, 0, range(3)))
    with torch.no_grad():
        seen, _, _ = task.clip(batch.pixels, batch.tokens)
        found = F.normalize(towers.embed_images(batch.pixels), dim=-1)
    torch.testing.assert_close(found, seen, atol=5e-3, rtol=0)  # weights are kept in half precision
    assert (towers.size, towers.width) == (64, 128)
    task.clip.train()


def test_soft_pictures_are_the_sharp_ones_halved_and_resized(
    task: FamiliesTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(train_families, "BLURRED", share)
        drawn.append(task.captioned_pictures("chairs", Draws(0, 0, range(3))).pixels)
    torch.testing.assert_close(drawn[1], resized(F.avg_pool2d(drawn[0] / 2 + 0.5, 2), 64) * 2 - 1)


@pytest.mark.slow
def test_the_shipped_model_tells_traits_and_colours() -> None:
    """Objects of the upper third score higher than those of the lower; the true colour's text is the nearest."""
    assert DEFAULT == "nano-clip-families"
    scorer, hard = Scorer.load(DEFAULT), {"seat thickness", "back tilt", "wheel width"}
    for name, family in FAMILIES.items():
        shapes, palettes = family.shapes(128, 40), family.palettes(128, 41)
        pictures, _, _ = family.render(shapes, palettes, front_cameras(family, 64, Draws(42, 0, range(128))))
        seen, noun = scorer.embed_images(pictures), name.removesuffix("s")
        for trait in family.traits:
            words = [word for word in (trait.high, trait.low) if word]
            texts = scorer.embed_texts(
                [f"a {noun} with {word}" if trait.with_ else f"a {word} {noun}" for word in words]
            )
            measured, (below, above) = family.measure(shapes)[trait.name].float(), family.quantiles[trait.name]
            score = seen @ (texts[0] - texts[1] if len(words) == 2 else texts[0])
            upper, lower = score[measured >= above], score[measured <= (below if below < above else below - 0.5)]
            assert (upper[:, None] > lower).float().mean() > (0.5 if trait.name in hard else 0.9), trait.name
        part = family.parts[0]
        texts = scorer.embed_texts([f"a {name.removesuffix('s')} with a {color} {part}" for color in family.colors])
        wanted = (palettes[:, None, :3] - torch.tensor(list(family.colors.values()))).norm(dim=-1).argmin(1)
        assert ((seen @ texts.T).argmax(1) == wanted).float().mean() > 0.85
