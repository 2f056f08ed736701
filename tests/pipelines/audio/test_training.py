"""Mappers trained on one's own pairs, and what is said about them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.training.trainer import TrainingError
from mappers.v2a import LinearMapper, RegressionMapper
from pipelines.audio.conditioning import load_mapper
from pipelines.audio.domain_gap import Domain
from pipelines.audio.files import write_sound
from pipelines.audio.generation import Sonifier
from pipelines.audio.pairs import EmbeddedPairs, read_pairs
from pipelines.audio.settings import FitMapperConfig, SoundConfig
from pipelines.audio.training import fit_mapper
from pipelines.cli import main

KINDS = {"low": (30, 200), "middle": (128, 900), "high": (230, 3000)}


def write_pair(folder: Path, stem: str, kind: str, seed: int) -> None:
    """A picture of one shade of gray and a tone that goes with it."""
    rng = np.random.default_rng(seed)
    shade, hertz = KINDS[kind]
    pixels = (shade + rng.integers(-20, 20, (20, 20, 3))).astype(np.uint8)
    (folder / stem).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{stem}.png")
    time = np.arange(8_000) / 16_000
    wave = 0.5 * np.sin(2 * np.pi * hertz * rng.uniform(0.95, 1.05) * time)
    write_sound(folder / f"{stem}.wav", wave.astype(np.float32), 16_000)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(30):
        kind = list(KINDS)[number % 3]
        write_pair(folder, f"{kind}/{number // 3}", kind, number)
        (folder / kind / f"{number // 3}.wav").rename(folder / kind / f"s{number // 3}.wav")
    return folder


def spaces(folders: Any) -> dict[str, Any]:
    return {"clip": folders.clip, "clap": folders.clap}


def quick(method: str = "regression", **values: Any) -> FitMapperConfig:
    config = FitMapperConfig(method=method, **values)  # pyright: ignore
    return FitMapperConfig(
        method=method,  # pyright: ignore
        **values,
        train=config.train.with_overrides(
            steps=60, warmup_steps=0, batch_size=32, validate_every=30, save_every=20, cpu=True
        ),
    )


@pytest.mark.parametrize("method", ["linear", "regression", "prior"])
def test_every_mapper_is_learned_saved_and_used(method: str, pairs: Path, folders: Any, tmp_path: Path) -> None:
    mapper = fit_mapper(pairs, tmp_path, **spaces(folders), config=quick(method, depth=1), cache=tmp_path / "cache")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["pictures"] == report["sounds"] == 30
    assert report["held_out"] == [6, 6]
    assert [row["way"] for row in report["gap"]] == ["chance", "linear", "mapper", "oracle"]
    assert "| mapper |" in (tmp_path / "gap.md").read_text()
    again = load_mapper(tmp_path)
    assert type(again) is type(mapper)
    sonifier = Sonifier.load(folders.model, clip=folders.clip, mapper=tmp_path, clap=folders.clap, device="cpu")
    steps = 2 if method == "prior" else None
    picture = Image.open(pairs / "low" / "0.png")
    sounds = sonifier(picture, duration=0.1, config=SoundConfig(inference_steps=1, mapper_steps=steps))
    assert sounds.audios.shape == (1, 1_600)


def test_pairs_are_found_by_name_by_folder_in_videos_and_in_a_list(pairs: Path, tmp_path: Path) -> None:
    found = read_pairs(pairs)
    assert {item.name for item in found.pictures} == set(KINDS)
    assert sum(item.held_out for item in found.pictures) == 6
    for number in range(12):
        write_pair(tmp_path / "flat", f"{number:02d}", "low", number)
    (tmp_path / "flat" / "film.mp4").write_bytes(b"x")
    found = read_pairs(tmp_path / "flat")
    assert [item.name for item in found.pictures] == sorted([f"{number:02d}" for number in range(12)] + ["film"])
    assert [item.path.name for item in found.sounds if item.name == "film"] == ["film.mp4"]
    assert sum(item.held_out for item in found.pictures) == 2
    listed = {
        "concept": "low",
        "images": [{"file": "00.png", "split": "train"}, {"file": "gone.png"}],
        "audio": [{"file": "01.wav", "split": "held-out"}],
    }
    (tmp_path / "flat" / "pairs.jsonl").write_text(json.dumps(listed) + "\n")
    found = read_pairs(tmp_path / "flat")
    assert [(item.path.name, item.held_out) for item in found.pictures] == [("00.png", False)]
    assert [(item.path.name, item.held_out) for item in found.sounds] == [("01.wav", True)]
    (tmp_path / "flat" / "pairs.jsonl").write_text(json.dumps(listed) + "\n", encoding="utf-8-sig")
    assert read_pairs(tmp_path / "flat") == found
    (tmp_path / "flat" / "pairs.jsonl").write_text('{"concept": "a"}\n')
    with pytest.raises(ValueError, match="line 1 of .*pairs.jsonl is not a group of pairs"):
        read_pairs(tmp_path / "flat")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="there are no pairs in"):
        read_pairs(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_pairs(tmp_path / "missing")


@pytest.mark.parametrize(("count", "held_out"), [(2, 0), (9, 0), (10, 2), (12, 2), (19, 2), (20, 2), (30, 3)])
def test_any_number_of_pairs_can_be_measured(
    count: int, held_out: int, folders: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One held-out pair alone has no figures: training went to its end and then failed."""
    for number in range(count):
        write_pair(tmp_path / "pairs", f"{number:02d}", list(KINDS)[number % 3], number)
    pairs = read_pairs(tmp_path / "pairs")
    assert sum(item.held_out for item in pairs.pictures) == sum(item.held_out for item in pairs.sounds) == held_out
    if count in (2, 12):
        fit_mapper(tmp_path / "pairs", tmp_path / "run", **spaces(folders), config=quick("linear"))
        assert json.loads((tmp_path / "run" / "report.json").read_text())["held_out"] == [held_out, held_out]
        assert ("fewer than two pairs are held out" in caplog.text) == (held_out == 0)


def test_too_few_pairs_are_refused_before_training(folders: Any, tmp_path: Path) -> None:
    for number in range(10):
        write_pair(tmp_path / "pairs", f"{number}", "low", number)
        if number:
            (tmp_path / "pairs" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="fewer than two pairs can be used, and figures need two"):
        fit_mapper(tmp_path / "pairs", tmp_path / "run", **spaces(folders), config=quick())
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"cache"}


def test_a_name_that_differs_in_capitals_is_hinted_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b", "a"):
        write_pair(tmp_path, name, "low", 0)
    (tmp_path / "a.png").rename(tmp_path / "A.PNG")
    assert [item.name for item in read_pairs(tmp_path).pictures] == ["b"]
    assert "A.PNG has no partner of the same name; capitals count: rename it to a.PNG" in caplog.text
    assert "a.wav has no partner of the same name; capitals count: rename it to A.wav" in caplog.text


def test_bad_files_are_named_and_the_others_learned_from(
    pairs: Path, folders: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(pairs, tmp_path / "pairs")
    (tmp_path / "pairs" / "low" / "0.png").write_bytes(b"broken")
    write_sound(tmp_path / "pairs" / "low" / "s1.wav", np.zeros(4_000, dtype=np.float32), 16_000)
    (tmp_path / "pairs" / "high" / "s2.wav").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        fit_mapper(tmp_path / "pairs", tmp_path / "a", **spaces(folders), config=quick("linear"))
    for part in ("0.png is not a picture", "s1.wav is silent", "s2.wav is empty"):
        assert part in caplog.text
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert (report["pictures"], report["sounds"]) == (29, 28)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        fit_mapper(
            tmp_path / "pairs",
            tmp_path / "b",
            **spaces(folders),
            config=quick("linear"),
            cache=tmp_path / "a" / "cache",
        )
    assert "s1.wav could not be used before either" in caplog.text


def test_cached_embeddings_give_the_same_mapper_and_a_resumed_run_too(
    pairs: Path, folders: Any, tmp_path: Path
) -> None:
    whole = fit_mapper(pairs, tmp_path / "whole", **spaces(folders), config=quick(), seed=3)
    cached = tmp_path / "whole" / "embeddings.safetensors"
    again = fit_mapper(cached, tmp_path / "again", config=quick(), seed=3)
    first = quick()
    fit_mapper(cached, tmp_path / "parts", config=first, seed=3, max_minutes=1e-9)
    with pytest.raises(TrainingError, match="already holds a run; resume it"):
        fit_mapper(cached, tmp_path / "parts", config=first, seed=3)
    resumed = fit_mapper(cached, tmp_path / "parts", config=first, seed=3, resume=True)
    for other in (again, resumed):
        for a, b in zip(whole.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)
    sides = EmbeddedPairs.load(cached)
    sides.pictures.rows[0] += 0.1
    sides.save(tmp_path / "others.safetensors")
    with pytest.raises(TrainingError, match=r"made from other inputs \(pairs.pictures.embeddings: other content\)"):
        fit_mapper(tmp_path / "others.safetensors", tmp_path / "parts", config=first, seed=3, resume=True)
    assert sides.source_space == whole.config.source_space
    assert isinstance(whole, RegressionMapper)
    back = fit_mapper(cached, tmp_path / "back", config=quick("linear", reverse=True))
    assert isinstance(back, LinearMapper)
    assert (back.config.source, back.config.target) == (16, 12)
    assert back.config.source_space == whole.config.target_space
    cached.write_bytes(cached.read_bytes()[:200])
    with pytest.raises(ValueError, match="does not hold cached embeddings"):
        fit_mapper(cached, tmp_path / "broken")


def test_pictures_unlike_all_training_are_warned_of(
    pairs: Path, folders: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anchors = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    domain = Domain.of(torch.cat([anchors, anchors + 0.01]))
    assert domain.out_of_domain(anchors) == []
    assert domain.out_of_domain(-anchors[:1] + 0.0) == [0]
    domain.save(tmp_path)
    loaded = Domain.load(tmp_path)
    assert loaded is not None
    assert loaded.threshold == pytest.approx(domain.threshold)
    assert Domain.load(tmp_path / "none") is None
    fit_mapper(pairs, tmp_path / "run", **spaces(folders), config=quick("linear"))
    sonifier = Sonifier.load(folders.model, clip=folders.clip, mapper=tmp_path / "run", device="cpu")
    config = SoundConfig(inference_steps=1)
    with caplog.at_level(logging.WARNING):
        sonifier(Image.open(pairs / "low" / "1.png"), duration=0.1, config=config)
        assert "unlike" not in caplog.text
        stripes = np.zeros((16, 16, 3), dtype=np.uint8)
        stripes[::2] = (255, 0, 0)
        sonifier(stripes, duration=0.1, config=config)
        assert "the input is unlike all pictures that the mapper was trained on" in caplog.text


@pytest.mark.slow
def test_two_processes_learn_the_mapper_of_one(pairs: Path, folders: Any, tmp_path: Path) -> None:
    config = quick("prior", depth=1)
    one = fit_mapper(pairs, tmp_path / "one", **spaces(folders), config=config)
    script = tmp_path / "fit.py"
    script.write_text(
        "import pickle, sys\nfrom pipelines.audio.training import fit_mapper\n"
        "if __name__ == '__main__':\n    fit_mapper(**pickle.load(open(sys.argv[1], 'rb')))\n"
    )
    arguments = {"pairs": pairs, "output_dir": tmp_path / "two", "config": config, **spaces(folders)}
    (tmp_path / "arguments").write_bytes(pickle.dumps(arguments))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launch, str(script), str(tmp_path / "arguments")], check=True, env=environment, timeout=300)
    two = load_mapper(tmp_path / "two").state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)


def test_the_command_line(pairs: Path, folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["fit-mapper", "--pairs", str(pairs), "--clip", str(folders.clip), "--clap", str(folders.clap)]
    more = ["--train.batch-size", "16", "--train.warmup-steps", "1", "--config", "regression", "--train.cpu"]
    assert main([*run, "--output", str(tmp_path / "run"), "--steps", "4", *more]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "run" / "mapper")
    assert "| translated by | recall at 1 |" in printed.err
    settings = json.loads((tmp_path / "run" / "report.json").read_text())["settings"]
    assert settings["method"] == "regression"
    assert settings["train"]["steps"] == 4
    for extra, code, message in (
        (["--pairs", str(tmp_path / "none")], 2, "there is no folder"),
        (["--config", "nanno"], 2, "there is no settings file nanno; shipped are: linear, nano, paper, regression"),
        (["--drop", "1.5"], 2, "drop must be at least 0 and below 1"),
        (["--clip", "./none"], 2, "neither a folder"),
        (["--config", "nano", "--steps", "1"], 2, "lower it (--train.warmup-steps), or take more steps"),
    ):
        try:
            found = main([*run, "--output", str(tmp_path / "bad"), *extra])
        except SystemExit as stop:
            found = stop.code
        assert found == code
        assert message in " ".join(capsys.readouterr().err.split())
    (tmp_path / "file").write_text("")
    assert main([*run, "--output", str(tmp_path / "file" / "x")]) == 2
    assert "is a file and no folder" in capsys.readouterr().err
