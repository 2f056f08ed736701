"""Several words in one run: each sample shows one, each is saved by itself, and bad input is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.cli import main
from pipelines.personalization.attention import context_attention
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask

CONFIG = PersonalizeConfig(train=TrainConfig(steps=4, batch_size=4, learning_rate=1e-2, save_every=2, log_every=1))


def pictures(seed: int, count: int = 2) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]


def joint(pipeline: NeTIPipeline, *, shared_points: int, dog: torch.Tensor | None = None) -> NeTITask:
    mappers = [NeTIMapper(pipeline.layers, 16, 20.0, seed=seed, dropout=0.0) for seed in (1, 2)]
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dog = pixels[:2].flip(0) if dog is None else dog
    subjects = [Subject("<cat>", mappers[0], pixels), Subject("<dog>", mappers[1], dog)]
    return NeTITask(pipeline, subjects, dataclasses.replace(CONFIG, shared_points=shared_points))


@torch.no_grad()
def losses(task: NeTITask, parts: list[list[int]]) -> list[float]:
    made = []
    with context_attention(task.pipeline.unet):
        for indices in parts:
            draws = Draws(0, 0, indices)
            made.append(float(task.loss(task.modules, task.batch(draws), draws)["loss"]))
    return made


def test_each_sample_shows_one_word_and_its_pictures(pipeline: NeTIPipeline) -> None:
    """Whatever is changed of one word concerns its samples alone, and groups that share a sentence share the word."""
    task, alone = joint(pipeline, shared_points=2), [[i] for i in range(8)]
    before = losses(task, alone)
    affected = []
    for subject in task.subjects:
        weights = {name: value.clone() for name, value in subject.mapper.state_dict().items()}
        with torch.no_grad():
            subject.mapper.output.bias.add_(1.0)  # pyright: ignore
        affected.append([a != b for a, b in zip(losses(task, alone), before, strict=True)])
        subject.mapper.load_state_dict(weights)
    cats, dogs = affected
    assert cats == [not dog for dog in dogs]
    assert any(cats)
    assert any(dogs)
    assert dogs[::2] == dogs[1::2]
    other = joint(pipeline, shared_points=2, dog=torch.zeros(2, 3, 32, 32))
    latents, others = (made.batch(Draws(0, 0, range(8)))[0] for made in (task, other))
    assert (latents != others).flatten(1).any(1).tolist() == dogs


def test_processes_together_have_the_loss_of_one(pipeline: NeTIPipeline) -> None:
    task = joint(pipeline, shared_points=2)
    whole, *halves = losses(task, [list(range(8)), [0, 1, 2, 3], [4, 5, 6, 7]])
    assert whole == pytest.approx(sum(halves) / 2, abs=1e-5)


def test_a_word_that_no_sample_shows_has_gradients_too(pipeline: NeTIPipeline) -> None:
    """Of zero: processes wait for the gradients of every word."""
    task = joint(pipeline, shared_points=1)
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        module.requires_grad_(False)
    draws = Draws(0, 0, [0])
    with context_attention(pipeline.unet):
        task.loss(task.modules, task.batch(draws), draws)["loss"].backward()
    sums = [
        sum(float(p.grad.abs().sum()) for p in subject.mapper.parameters() if p.grad is not None)
        for subject in task.subjects
    ]
    assert min(sums) == 0 < max(sums)
    assert all(p.grad is not None for subject in task.subjects for p in subject.mapper.parameters())


@pytest.mark.slow
def test_learns_saves_and_resumes_each(tiny_model: Path, tmp_path: Path) -> None:
    images = {"<cat>": pictures(0), "<dog>": pictures(1, 3)}
    options: dict[str, Any] = {"model": tiny_model, "category": {"<dog>": "toy"}, "config": CONFIG}
    whole = personalize(images, **options, output_dir=tmp_path / "a")
    assert [c.category for c in whole.concepts.values()] == ["object", "toy"]
    for name in ("cat", "dog"):
        report = json.loads((tmp_path / "a" / name / "report.json").read_text())
        assert report["token"] == f"<{name}>"
        assert (tmp_path / "a" / name / "samples.png").stat().st_size > 0
    personalize(images, **options, output_dir=tmp_path / "b", max_minutes=1e-9)
    personalize(images, **options, output_dir=tmp_path / "b", resume=True)
    fresh = NeTIPipeline.from_model(tiny_model, device="cpu")
    fresh.set_progress_bar_config(disable=True)
    whole.set_progress_bar_config(disable=True)
    for name in ("cat", "dog"):
        fresh.load_concept(tmp_path / "b" / name / "concept.safetensors")
        a, b = (p.concepts[f"<{name}>"].mapper.state_dict() for p in (whole, fresh))
        assert all(torch.equal(a[key], b[key]) for key in a)
    noise = {"num_inference_steps": 2, "output_type": "np"}
    drawn = [
        np.asarray(p("a <cat> beside a <dog>", generator=torch.Generator().manual_seed(0), **noise).images)
        for p in (whole, fresh)
    ]
    np.testing.assert_array_equal(*drawn)


def test_masks_of_each_and_a_background_for_each(tiny_model: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    config = dataclasses.replace(CONFIG, outside_weight=0.5)
    images = {"<cat>": pictures(0), "<dog>": pictures(1)}
    learned = personalize(images, model=tiny_model, masks={word: [mask, mask] for word in images}, config=config)
    assert list(learned.concepts) == ["<cat>", "<dog>"]
    subjects = [
        Subject(w, c.mapper, torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)) for w, c in learned.concepts.items()
    ]
    task = NeTITask(learned, subjects, config)
    assert list(task.modules) == ["mapper_0", "mapper_1", "background_0", "background_1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": {}}, "images names no words"),
        ({"images": {"<a>": pictures(0)}, "token": "<a>"}, "images already names the words <a>"),
        ({"images": pictures(0)}, "token is missing; choose a new word"),
        (
            {"images": {"<a>": pictures(0)}, "category": {"<b>": "toy"}},
            "category names <b>, which is not to be learned",
        ),
        (
            {"images": {"<a>": pictures(0), "<b>": pictures(1)}, "masks": {"<a>": pictures(0)}},
            "masks are missing for <b>",
        ),
        (
            {"images": {"<a>": pictures(0), "<b>": pictures(1)}, "masks": pictures(0)},
            "masks of several words need a mapping",
        ),
        ({"images": {"<a>": pictures(0), "[a]": pictures(1)}, "output_dir": "runs"}, r"'\[a\]' would be saved as 'a'"),
        ({"images": {"<a>": pictures(0), "<b>": []}}, "no pictures in the given list"),
    ],
)
def test_bad_input(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        personalize(**arguments, model=tiny_model, config=CONFIG)


def test_the_command_line_takes_a_folder_for_each_word(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures(seed)):
            picture.save(tmp_path / name / f"{i}.png")
    run = ["personalize", "--model", str(tiny_model), "--output", str(tmp_path / "run"), "--steps", "1"]
    run += ["--images", str(tmp_path / "cat"), str(tmp_path / "dog"), "--token"]
    assert main([*run, "<cat>"]) == 2
    assert "images has several folders for one token" in " ".join(capsys.readouterr().err.split())
    assert main([*run, "<cat>", "<cat>"]) == 2
    assert "token has a word twice" in capsys.readouterr().err
    assert main([*run, "<cat>", "<dog>", "--category", "toy", "--train.batch-size", "2"]) == 0
    files = capsys.readouterr().out.split()
    assert files == [str(tmp_path / "run" / name / "concept.safetensors") for name in ("cat", "dog")]
    assert all(Path(file).is_file() for file in files)
