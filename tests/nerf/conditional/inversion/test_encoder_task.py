"""Encoders of pictures: what they learn from, and what the shipped ones see."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from mappers.training.draws import Draws
from mappers.training.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.families import FAMILIES
from nerf.conditional.families.splits import split_of
from nerf.conditional.inversion.encoder_task import EncoderConfig, EncoderTask
from nerf.conditional.inversion.inversion import InversionConfig, encoder_of, invert
from nerf.conditional.inversion.target_picture import Target
from nerf.conditional.model import located
from nerf.conditional.train_encoder import Arguments, main


def short(steps: int, **changes: float) -> EncoderConfig:
    config = EncoderConfig()
    train = dataclasses.replace(
        config.train, steps=steps, warmup_steps=min(5, steps), batch_size=32, cpu=True, **changes
    )
    return dataclasses.replace(config, train=train)


@pytest.mark.parametrize("family", FAMILIES)
def test_shipped_encoders_find_poses_and_objects(family: str) -> None:
    model, encoder = ConditionalModel.load(f"nano-{family}"), encoder_of(f"nano-{family}")
    assert encoder is not None
    encoder.check_space(model.space)
    seen = EncoderTask(model, EncoderConfig()).validate({"encoder": encoder}, 0)  # shapes and palettes never seen
    assert seen["within_10_degrees"] > 0.95
    assert seen["shape_r2"] > 0.75
    assert seen["appearance_r2"] > 0.8


def test_pictures_are_those_of_the_codes(balls: ConditionalModel) -> None:
    task = EncoderTask(balls, short(3))
    seen, family = task.batch(Draws(1, 2, range(8))), balls.family
    draws = Draws(1, 2, range(8))
    shapes = torch.cat([family.shapes(1, int(seed)) for seed in draws.integers("shape", 2**62)])
    palettes = torch.cat([family.palettes(1, int(seed)) for seed in draws.integers("palette", 2**62)])
    assert len(shapes.unique(dim=0)) == 8
    for code, guess in zip(seen.codes, task.expected_codes(shapes, palettes), strict=True):
        torch.testing.assert_close(code, guess)
    errors = []
    for distance in [math.exp(0.15 * (2 * step / 40 - 1)) * 2.6 for step in range(41)]:
        cameras = family.seen_from(seen.azimuth, seen.elevation, 64, distance)
        rgb, alpha, _ = family.render(shapes, palettes, cameras)
        again = torch.cat([rgb, alpha[..., None]], -1).permute(0, 3, 1, 2)
        errors.append(float((again - seen.pictures).square().mean()))
    assert min(errors) < 0.004 < max(errors)  # at the one distance that the batch has
    assert not torch.equal(seen.pictures, task.batch(Draws(1, 3, range(8))).pictures)


def test_learning_helps(balls: ConditionalModel) -> None:
    torch.manual_seed(0)
    task = EncoderTask(balls, short(60))
    draws = Draws(9, 0, range(64))
    batch = task.batch(draws)

    @torch.no_grad()
    def losses() -> dict[str, float]:
        return {name: float(value) for name, value in task.loss(task.modules, batch, draws).items()}

    before = losses()
    fit(task, task.config.train)
    after = losses()
    assert after["elevation"] < 0.2 * before["elevation"]
    assert after["appearance"] < 0.8 * before["appearance"]
    assert after["azimuth"] < before["azimuth"]


def test_the_command_trains_resumes_and_writes(balls: ConditionalModel, tmp_path: Path) -> None:
    balls.save(tmp_path / "model")
    for _ in range(2):  # the second time there is nothing left to learn
        arguments = Arguments(
            model=str(tmp_path / "model"), output=tmp_path / "run", resume=True, export=True,
            settings=short(4, save_every=4, validate_every=4),
        )  # fmt: skip
        main(arguments)
    kept = encoder_of(tmp_path / "model")
    assert kept is not None
    assert kept.config.field_space == ConditionalModel.load(tmp_path / "model").space
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("val/within_10_degrees" in json.loads(line) for line in metrics)


def test_samples_have_no_pictures(balls: ConditionalModel) -> None:
    balls.notes["objective"] = "gan"
    with pytest.raises(ValueError, match="needs pictures of the model's instances, which are samples"):
        EncoderTask(balls, EncoderConfig())


def test_inversion_begins_where_the_encoder_says(tmp_path: Path) -> None:
    model, encoder = ConditionalModel.load("nano-cars"), encoder_of("nano-cars")
    split, config = split_of(model.family), InversionConfig(iterations=4, screening=1, noise=0.0)
    camera = model.family.seen_from(torch.tensor([2.2]), torch.tensor([0.6]), config.size)
    rgb, alpha, _ = model.family.render(split.held_out_shapes[3:4], split.held_out_palettes[3:4], camera)
    found = invert(model, Target(rgb[0], alpha[0]), config, encoder=encoder)
    assert found.azimuth == pytest.approx(math.degrees(2.2), abs=10)
    assert found.elevation == pytest.approx(math.degrees(0.6), abs=10)
    shutil.copytree(located("nano-cars"), tmp_path / "car", ignore=shutil.ignore_patterns("encoder"))
    assert encoder_of(tmp_path / "car") is None
