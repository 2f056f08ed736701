"""No command writes over a file that it did not make, unless it is told to; and never over a file that it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mapfield.cli import main
from mappers.neti import NeTIMapper
from pipelines.audio.files import write_sound
from pipelines.personalization.concepts import Concept, save_concept
from pipelines.plugging.fingerprint import Fingerprint

EXPECTED = Path(__file__).parents[1] / "expected" / "commands.json"
RUN = ("report.json", "loss.png", "metrics.jsonl", "samples/step_1.png", "checkpoints/step_000001/state.json")
"""What every training writes."""
FIELD = ("field.safetensors", "occupancy.safetensors", "coarse.safetensors")
RED = "photos/red.png"

WRITES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "personalize": [
        ("--images photos --token <x> --output out", ("concept.safetensors", "samples.png", *RUN)),
        ("--images photos photos --token <x> <y> --output out", ("x/concept.safetensors", "y/report.json", *RUN)),
    ],
    "generate": [("--prompt x --output out/a.png", ("a.png",))],
    "evaluate": [
        (
            "--concept word.safetensors --references photos --output out",
            ("report.json", "samples.png", "truncation.png", "neighbours.png"),
        )
    ],
    "export": [
        (
            "--concept word.safetensors --output out",
            ("xti.safetensors", "learned_embeds.safetensors", "a1111.safetensors", "sdxl.safetensors"),
        )
    ],
    "import-neti": [("--mapper old.pt --embeds old.bin --output out", ("concept.safetensors",))],
    "vision-to-audio": [
        ("--input photos --output out", ("red.wav", "blue.spectrogram.png")),
        (f"--input {RED} --output out/a.flac", ("a.flac", "a.spectrogram.png")),
        ("--input film.mp4 --output out/a.mp4", ("a.mp4", "a.spectrogram.png")),
    ],
    "evaluate-audio": [("--pairs pairs --output out", ("report.json", "report.md", "sounds/generated/0.wav"))],
    "fit-mapper": [("--pairs pairs --output out", ("mapper/config.json", "embeddings.safetensors", "gap.md", *RUN))],
    "edit-nerf": [
        (
            "--text x --output out",
            ("before.png", "after.png", "turntable.gif", "edit.safetensors", "report.json"),
        )
    ],
    "nerf train": [("--scene robot --output out", (*FIELD, *RUN, "stage_0/metrics.jsonl"))],
    "nerf distill": [("--teacher run --output out", (*FIELD, *RUN))],
    "nerf fit": [
        (f"{RED} --output out", ("field.safetensors", "picture.png", "error.png", *RUN)),
        ("film.mp4 --output out", ("field.safetensors", "video.mp4", "error.png", *RUN)),
    ],
    "nerf render": [("--run run --output out/a.mp4", ("a.mp4",)), ("--run run --output out", ("000.png",))],
    "nerf export": [("--run run --output out/a.ply", ("a.ply",))],
    "nerf make-scene": [("--name robot --output out", ("transforms_train.json", "notes.txt"))],
    "nerf compress": [(f"{RED} out/a.mfc", ("a.mfc",))],
    "demo": [("--output out", ("notes.txt", *RUN))],
}
"""By command: words, and the files that it writes into the folder "out"."""
READ_TOO: list[tuple[str, str]] = [
    (f"generate --prompt x --image {RED} --output {RED}", RED),
    (f"generate --prompt x --image {RED} --mask photos/blue.png --output photos/blue.png", "photos/blue.png"),
    ("vision-to-audio --input film.mp4 --output film.mp4", "film.mp4"),
    ("vision-to-audio --input . --output .", "film.mp4"),
    ("import-neti --mapper concept.safetensors --embeds old.bin --output .", "concept.safetensors"),
    ("evaluate-audio --pairs pairs --generated sounds --output .", "sounds"),
    ("edit-nerf --image out/before.png --output out", "out/before.png"),
    ("edit-nerf --exemplar out/after.png --output out", "out/after.png"),
]
"""Words, and the file among those that they say to read which they also say to write."""
REFUSALS = ("exists already", "already holds a run", "has files in it", "holds files that", "is not empty")
WRITES_NOTHING = {"models", "nerf info", "env"}
ELSEWHERE = {"app", "nerf decompress", "nerf evaluate"}
"""The app has a new folder for each job; tests/nerf/compression/test_cli.py has files to decompress; an evaluation
belongs to its run and is made anew there."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with something to read for every command; no model is ever loaded."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "pairs").mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (32, 32), name).save(tmp_path / "photos" / f"{name}.png")
        shutil.copy(tmp_path / "photos" / f"{name}.png", tmp_path / "pairs")
        write_sound(tmp_path / "pairs" / f"{name}.wav", np.full(1600, 0.1, dtype=np.float32), 16_000)
    shutil.copytree(tmp_path / "pairs", tmp_path / "sounds")
    mapper = NeTIMapper(layers=2, width=4, norm=1.0)
    save_concept(Concept("<x>", "toy", mapper, Fingerprint("a", 4, 2), "./none"), tmp_path / "word.safetensors")
    for name in ("film.mp4", "old.pt", "old.bin", "concept.safetensors"):
        (tmp_path / name).write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_command_is_looked_at() -> None:
    every = {name.removeprefix("mapfield ") for name in json.loads(EXPECTED.read_text(encoding="utf-8"))}
    assert every == WRITES.keys() | WRITES_NOTHING | ELSEWHERE


@pytest.mark.parametrize(
    ("words", "names"),
    [(f"{command} {words}", names) for command, ways in WRITES.items() for words, names in ways],
    ids=[f"{command}-{number}" for command, ways in WRITES.items() for number in range(len(ways))],
)
def test_a_file_that_exists_is_kept(
    words: str, names: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the files that the command would write, where it is the only one there."""
    for name in names:
        path = folder / "out" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"mine")
        before = contents(folder)
        assert main(words.split()) in (1, 2)
        error = capsys.readouterr().err
        assert any(part in error for part in REFUSALS), error
        assert contents(folder) == before
        shutil.rmtree(folder / "out")


@pytest.mark.parametrize(("words", "name"), READ_TOO)
def test_a_file_that_is_read_is_kept(words: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (folder / name).exists():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"mine")
    before = contents(folder)
    assert main([*words.split(), "--overwrite"]) == 2
    error = capsys.readouterr().err
    assert f"{name} is also an input, and would replace it; choose another name" in error
    assert contents(folder) == before
