"""Fitting pictures and videos: what is left behind, bit-equal resuming, unseen pixels, quantised weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.training.draws import Draws
from mappers.training.monitoring import TrainingError
from mappers.training.train_config import TrainConfig
from nerf.cli import main
from nerf.export import write_film
from nerf.fields import FieldError
from nerf.fields.quantized import bits_per_tensor, rounded
from nerf.media.fields import PictureConfig, VideoConfig
from nerf.media.fitting import FitTask, build_media_field, fit_media
from nerf.media.reading import read_media
from nerf.settings import FitConfig

TINY = PictureConfig(width=24, frequencies=16, layers=2, nodes=(6, 6))
QUICK = FitConfig(train=TrainConfig(steps=60, batch_size=400, learning_rate=5e-3, weight_decay=0.0, cpu=True))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20x20: a slope with a disc on it."""
    y, x = np.mgrid[:20, :20] / 20
    values = np.stack([x, y, (np.hypot(x - 0.4, y - 0.5) < 0.3).astype(float)], -1)
    path = tmp_path_factory.mktemp("picture") / "disc.png"
    Image.fromarray((values * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 16x24 with a square that moves."""
    frames = np.full((6, 16, 24, 3), 60, np.uint8)
    for number in range(6):
        frames[number, 4:12, 3 * number : 3 * number + 8] = (220, 120, 40)
    path = tmp_path_factory.mktemp("film") / "square.mp4"
    write_film(list(frames), path, fps=12)
    return path


def test_a_picture_is_fitted_and_leaves_what_it_promises(picture: Path, tmp_path: Path) -> None:
    fit = fit_media(picture, size=TINY, config=QUICK, output_dir=tmp_path)
    assert fit.figures["psnr"] > 19
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"picture.png", "error.png", "loss.png", "report.json", "field.safetensors", "checkpoints"}
    with Image.open(tmp_path / "picture.png") as made:
        assert made.size == (20, 20)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["figures"]["parameters"] == sum(p.numel() for p in fit.field.parameters())
    assert report["sizes"]["modulation"] == "cam"


def test_a_video_is_fitted_and_leaves_a_film(film: Path, tmp_path: Path) -> None:
    media = read_media(film)
    size = VideoConfig(height=16, width=24, channels=12, blocks=2, nodes=4, octaves=4)
    config = dataclasses.replace(QUICK, train=dataclasses.replace(QUICK.train, batch_size=3))
    fit = fit_media(media, size=size, config=config, output_dir=tmp_path)
    assert fit.figures["psnr"] > 20
    made = read_media(tmp_path / "video.mp4")
    assert (len(made.frames), made.size, made.fps) == (6, (16, 24), 12)
    assert (tmp_path / "error.png").is_file()


def test_resumed_is_bit_equal(picture: Path, tmp_path: Path) -> None:
    whole = fit_media(picture, size=TINY, config=QUICK, steps=12)
    stopped = fit_media(picture, size=TINY, config=QUICK, steps=12, output_dir=tmp_path, max_minutes=1e-9)
    assert stopped.report.steps < 12
    resumed = fit_media(picture, size=TINY, config=QUICK, steps=12, output_dir=tmp_path, resume=True)
    for a, b in zip(whole.field.state_dict().values(), resumed.field.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    media = read_media(picture)
    other = dataclasses.replace(media, frames=media.frames.flip(1))
    with pytest.raises(TrainingError, match=r"made from other inputs \(media.frames: other content\)"):
        fit_media(other, size=TINY, config=QUICK, steps=12, output_dir=tmp_path, resume=True)


def test_a_batch_of_all_pixels_holds_each_once(picture: Path) -> None:
    media = read_media(picture)
    task = FitTask(media, build_media_field("cam", media, TINY), QUICK)
    places, values = task.batch(Draws(0, 3, range(400)))
    assert torch.equal(places, task.places)
    assert torch.equal(values, media.frames[0].flatten(0, 1) / 255)


def test_every_second_pixel_leaves_the_others_unseen(picture: Path) -> None:
    media = read_media(picture)
    config = dataclasses.replace(QUICK, every_second=True)
    task = FitTask(media, build_media_field("cam", media, TINY), config)
    assert len(task.places) == 100
    assert torch.equal(task.values.view(10, 10, 3), media.frames[0, ::2, ::2])
    figures = fit_media(media, size=TINY, config=config, steps=20).figures
    assert 0 < figures["psnr_unseen"] <= figures["psnr"] + 1


def test_quantised_weights_are_those_that_were_trained(picture: Path) -> None:
    config = dataclasses.replace(QUICK, bits=5)
    fit = fit_media(picture, size=TINY, config=config)
    for name, value in fit.field.named_parameters():
        assert torch.equal(value, rounded(value, bits_per_tensor(fit.field, 5)[name])), name
    assert fit.figures["psnr"] > 18


def test_the_command_fits_and_resumes(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", str(picture), "--field", "plain", "--output", str(tmp_path / "a"), "--train.cpu"]
    assert main([*words, "--steps", "2", "--train.batch-size", "32", "--bits", "8"]) == 0
    assert "psnr " in capsys.readouterr().out
    assert main([*words, "--steps", "2"]) == 1
    assert "already holds a run" in capsys.readouterr().err


def test_bad_input_is_one_sentence(
    picture: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FieldError, match="unknown field 'hash' of pictures and videos; known are cam, normed, plain"):
        fit_media(picture, "hash")
    with pytest.raises(FieldError, match="has no size 'huge'; known are small, paper"):
        fit_media(picture, size="huge")
    with pytest.raises(ValueError, match="every_second is for pictures"):
        fit_media(film, config=dataclasses.replace(QUICK, every_second=True))
    with pytest.raises(ValueError, match=r"bits must be in 2\.\.8 or none, got 9"):
        FitConfig(bits=9)
    assert main(["fit", str(tmp_path / "no.png"), "--output", str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert "there is no picture or video" in error
    assert error.count("\n") == 1
