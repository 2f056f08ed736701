"""One picture becomes codes and a pose; pictures that cannot are named."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nerf.cameras import spherical
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families.family import RADIUS
from nerf.conditional.inversion.inversion import Attempt, InversionConfig, Search, invert
from nerf.conditional.inversion.target_picture import Target, on_white, target_of
from nerf.conditional.views import View

QUICK = InversionConfig(size=16, iterations=60, starts=2, screening=4, code_rate=0.15, code_weight=0.0, noise=0.1)


def target(model: ConditionalModel, shape: torch.Tensor, appearance: torch.Tensor, size: int = 16) -> Target:
    picture = model.render(shape, appearance, model.camera(40, 30, size))
    return Target(picture.color, picture.opacity)


def test_a_ball_is_found_again(balls: ConditionalModel) -> None:
    """Radius and grey; a ball has no pose."""
    shape = torch.tensor([0.47, 0.0, 0.0, 0.0])
    appearance = torch.tensor([0.35, 0.45, 0.5])
    found = invert(balls, target(balls, shape, appearance), QUICK)
    assert float(found.shape_code[0]) == pytest.approx(0.47, abs=0.03)
    assert float(found.appearance_code[0]) == pytest.approx(0.35, abs=0.06)
    assert found.psnr > 24
    assert len(found.losses) == 2
    assert found.view(8).size == 8


def test_starts_are_where_the_outline_says() -> None:
    chairs = ConditionalModel.load("nano-chairs")
    codes, view = chairs.codes(5), View(azimuth=120, elevation=45, size=16)
    picture = chairs.render(*codes, view.camera(chairs))
    search = Search(chairs, Target(picture.color, picture.opacity), QUICK, None)
    starts = search.silhouette_starts(6)
    places = spherical(*torch.tensor([angles for angles, _ in starts]).T, (0.0, 0.0, 1.0))
    truth = view.camera(chairs).positions[0] / RADIUS
    assert float((places @ truth).max()) > math.cos(math.radians(25))
    apart = (places @ places.T).fill_diagonal_(-1)
    assert float(apart.max()) < math.cos(math.radians(25)) + 1e-5


def test_a_start_at_the_truth_stays_there(balls: ConditionalModel) -> None:
    codes = balls.codes(3)
    wanted = target(balls, *codes)
    config = dataclasses.replace(QUICK, noise=0.0, iterations=6, screening=3)
    found = invert(balls, wanted, config, start=(*codes, View(azimuth=40, elevation=30, size=16)))
    search = Search(balls, wanted, config, None)
    truth = Attempt(search, balls.shape_prior.whiten(codes[0]), balls.appearance_prior.whiten(codes[1]), 0.7, 0.52)
    assert found.losses[0] <= search.final_loss(truth) + 1e-3
    assert (found.azimuth, found.elevation) == (pytest.approx(40, abs=8), pytest.approx(30, abs=8))


def test_each_step_moves_one_group_and_the_noise_ends(balls: ConditionalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(balls, target(balls, *balls.codes(2)), QUICK, None)
    attempt = Attempt(search, torch.zeros(4), torch.zeros(3), 0.0, 0.5)
    seen: list[list[bool]] = []
    noise: list[float] = []
    loss = Search.loss

    def watched(self: Search, *values: Any) -> torch.Tensor:
        pose, shape, appearance, _, _, disturbed, *_ = values
        seen.append([value.requires_grad for value in (pose, shape, appearance)])
        changes = [] if disturbed is None else [disturbed[0] - shape, disturbed[1] - appearance]
        noise.append(sum(float(change.detach().abs().sum()) for change in changes))
        return loss(self, *values)

    monkeypatch.setattr(Search, "loss", watched)
    search.round(attempt, 0)
    assert seen == [[True, False, False], [False, True, False], [False, False, True]]
    assert noise[0] == 0 < min(noise[1:])
    search.round(attempt, QUICK.iterations - 1)
    assert max(noise[3:]) < 0.2 * max(noise[:3])


def test_the_paper_term_of_clip_counts(balls: ConditionalModel, brightness: Scorer) -> None:
    wanted = target(balls, *balls.codes(2))
    plain, judged = (Search(balls, wanted, QUICK, scorer) for scorer in (None, brightness))
    values = torch.tensor([0.0, 0.5]), torch.zeros(4), torch.ones(3)
    home = torch.zeros(4), torch.zeros(3)
    assert float(judged.loss(*values, home, 0.2)) > float(plain.loss(*values, home, 0.2))
    assert float(judged.loss(*values, home, 0.0)) == pytest.approx(float(plain.loss(*values, home, 0.0)))


def test_a_step_compares_some_pixels(balls: ConditionalModel, brightness: Scorer) -> None:
    """The loss is the mean over them; a scorer sees whole pictures, and so does what chooses between starts."""
    wanted, config = target(balls, *balls.codes(2)), dataclasses.replace(QUICK, rays=64)
    search = Search(balls, wanted, config, None)
    values = torch.tensor([0.0, 0.5]), torch.zeros(4), torch.ones(3), (torch.zeros(4), torch.zeros(3)), 0.0
    whole = float(search.loss(*values))
    parts = [float(search.loss(*values, None, pixels)) for pixels in torch.randperm(256).split(64)]
    assert sum(parts) / 4 == pytest.approx(whole, rel=1e-4)
    assert max(parts) - min(parts) > 0.01 * whole
    drawn = [search.random_pixels() for _ in range(2)]
    assert [len(set(pixels.tolist())) for pixels in drawn if pixels is not None] == [64, 64]
    assert drawn[0].tolist() != drawn[1].tolist()  # pyright: ignore[reportOptionalMemberAccess]
    assert Search(balls, wanted, QUICK, None).random_pixels() is None
    assert Search(balls, wanted, config, brightness).random_pixels() is None


def test_codes_stay_near_where_they_came_from(balls: ConditionalModel) -> None:
    search = Search(balls, target(balls, *balls.codes(2)), dataclasses.replace(QUICK, code_weight=1.0), None)
    pose, codes = torch.tensor([0.0, 0.5]), (torch.full((4,), 0.5), torch.full((3,), -0.5))
    away = (codes[0] + 0.2, codes[1] - 0.1)
    at_home, apart = (float(search.loss(pose, *codes, home, 0.0)) for home in (codes, away))
    assert apart - at_home == pytest.approx(0.2**2 + 0.1**2, rel=1e-4)


def test_a_picture_of_another_size_is_refused(balls: ConditionalModel) -> None:
    with pytest.raises(ValueError, match="the picture must have 16 pixels a side"):
        invert(balls, target(balls, *balls.codes(0), size=12), QUICK)
    with pytest.raises(ValueError, match="screening must be at most half of iterations"):
        InversionConfig(iterations=3)


def test_starts_are_told_apart_on_small_renders(balls: ConditionalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []
    loss = Search.loss
    monkeypatch.setattr(Search, "loss", lambda self, *values: sides.append(self.size) or loss(self, *values))
    config = dataclasses.replace(QUICK, iterations=3, starts=4, screening=1, screening_size=8)
    invert(balls, target(balls, *balls.codes(0)), config)
    # Three steps a round and one look at what is left: of four starts, of two, and what remains of the best.
    assert sides == [8] * (4 * 3 + 4 + 2 * 3 + 2) + [16] * 3


def disc(ground: str, mode: str = "RGB", size: tuple[int, int] = (40, 40)) -> Image.Image:
    image = Image.new(mode, size, ground if mode == "RGB" else (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((10, 10, 29, 29), fill=(200, 30, 30))
    return image


def test_objects_are_cut_from_plain_grounds_and_by_alpha() -> None:
    of_alpha = target_of(disc("", "RGBA"), 40)
    wanted = of_alpha.alpha
    assert float(wanted.mean()) == pytest.approx(np.pi / 16, abs=0.02)
    for ground in ("white", "navy", "gray"):
        found = target_of(disc(ground), 40)
        assert torch.equal(found.alpha, wanted)
        torch.testing.assert_close(found.rgb, of_alpha.rgb)
    mask = Image.fromarray((wanted.numpy() * 255).astype(np.uint8))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    assert torch.equal(target_of(noise, 40, mask).alpha, wanted)
    wide = target_of(disc("white", size=(40, 60)), 30)
    assert wide.rgb.shape == (30, 30, 3)
    assert float(wide.alpha[:, :4].max()) == 0
    assert float(wide.alpha.mean()) == pytest.approx(float(wanted.mean()) * 4 / 9, rel=0.05)


def test_pictures_without_an_object_are_named() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    for image, mask, message in (
        (Image.new("RGB", (8, 40)), None, "the picture has 8x40 pixels; give one of at least 16 a side"),
        (Image.new("RGB", (40, 40), "white"), None, "the picture shows no object"),
        (Image.new("RGBA", (40, 40)), None, "the picture shows no object"),
        (noise, None, "ground is not plain; give a mask"),
        (noise, Image.new("L", (4, 4)), "the mask has 4x4 pixels, its picture 40x40"),
        (noise, Image.new("L", (40, 40), 255), "the object takes 100% of the picture"),
    ):
        with pytest.raises(ValueError, match=message):
            target_of(image, 16, mask)
    with pytest.raises(ValueError, match="the exemplar shows no object"):
        on_white(Image.new("RGBA", (30, 20)))
    assert on_white(disc("navy", size=(40, 60))).size == (60, 60)
