"""The command line: answers at once, and turns bad input into one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from pipelines.cli import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.new("RGB", (40, 40), "red").save(path)
    return path.parent


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        "try: main(['personalize', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--train.learning-rate" in done.stdout


@pytest.mark.parametrize("command", ["vision-to-audio", "evaluate-audio", "fit-mapper"])
def test_help_of_sounds_needs_no_torch(command: str) -> None:
    code = (
        f"import sys\nfrom pipelines.cli import main\ntry: main(['{command}', '--help'])\n"
        "except SystemExit: pass\nassert not {'torch', 'librosa', 'av', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--seed" in done.stdout


def test_pictures_and_videos_to_sounds(folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (20, 30), "red").save(tmp_path / "cat.png")
    with av.open(str(tmp_path / "film.mp4"), "w") as target:
        stream = target.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 30 * number, dtype=np.uint8), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    parts = [word for name, path in folders.parts.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    run = ["vision-to-audio", *parts, "--inference-steps", "1", "--mapper-steps", "1"]
    wav, mp4 = tmp_path / "out" / "cat.wav", tmp_path / "out" / "film.mp4"
    more = ["--candidates", "2", "--spectrogram", "--without", "speech", "music", "--blend", "0.5"]
    assert main([*run, "--input", str(tmp_path / "cat.png"), "--output", str(wav), *more]) == 0
    assert capsys.readouterr().out.strip() == str(wav)
    assert soundfile.info(wav).frames == 10_240
    assert (tmp_path / "out" / "cat.spectrogram.png").is_file()
    film = ["--input", str(tmp_path / "film.mp4"), "--output"]
    assert main([*run, *film, str(mp4), "--window", "0.4", "--onset-strength", "0.5"]) == 0
    with av.open(str(mp4)) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert abs(lengths[0] - lengths[1]) < 0.1
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "file").write_text("")
    for source, target, code, message in (
        ("cat.png", "a.mp3", 2, "the output for cat.png must end in .wav, .flac, got a.mp3"),
        ("cat.png", "a.mp4", 2, "the output for cat.png must end in .wav, .flac, got a.mp4"),
        ("broken.png", "a.wav", 2, "is not a picture that can be read"),
        ("none.png", "a.wav", 2, "there is no picture, video or folder"),
        ("out", "a.wav", 2, "is a folder, so the output must be one too"),
        ("cat.png", "file/a.wav", 2, "is a file and no folder"),
        ("film.mp4", "film.mp4", 2, "is also an input, and would replace it"),
    ):
        assert main([*run, "--input", str(tmp_path / source), "--output", str(tmp_path / target)]) == code
        assert message in " ".join(capsys.readouterr().err.split())


def test_models_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines][0] == "nano"
    assert all(Path(line.split("\t")[-1]).is_dir() for line in lines)
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "nano"


def test_personalize_then_generate(
    tiny_model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--images", str(picture), "--token", "<x>", "--model", str(tiny_model), "--category", "toy"]
    out = tmp_path / "run"
    assert main(["personalize", *run, "--output", str(out), "--steps", "2", "--train.batch-size", "2"]) == 0
    concept = out / "concept.safetensors"
    assert capsys.readouterr().out.strip() == str(concept)
    assert json.loads((out / "report.json").read_text())["settings"]["train"]["batch_size"] == 2
    grid = tmp_path / "grid.png"
    arguments = ["generate", "--concept", str(concept), "--output", str(grid), "--steps", "2", "--count", "3"]
    assert main([*arguments, "--prompt", "a <x> on the beach"]) == 0
    with Image.open(grid) as image:
        assert image.size == (64, 64)
        assert image.info["prompt"] == "a <x> on the beach"
    assert main([*arguments, "--prompt", "a <x> in the snow", "--overwrite"]) == 0
    with Image.open(grid) as image:
        assert image.info["prompt"] == "a <x> in the snow"
    arguments[arguments.index(str(grid))] = str(tmp_path / "new.png")
    assert main([*arguments, "--prompt", "a toy"]) == 2
    assert "has none of the learned words <x>" in capsys.readouterr().err
    half, ground = tmp_path / "half.png", tmp_path / "ground.png"
    Image.fromarray(np.repeat(np.uint8([[0] * 16 + [255] * 16]), 32, 0)).save(half)
    Image.new("RGB", (32, 32), "navy").save(ground)
    one = ["generate", "--concept", str(concept), "--steps", "2", "--count", "1", "--prompt", "a <x>"]
    drawn = {}
    for name, more in {
        "plain": [],
        "confined": ["--region", "<x>", str(half)],
        "over": ["--image", str(ground), "--strength", "0.5"],
        "beside": ["--image", str(ground), "--strength", "0.5", "--mask", str(half)],
    }.items():
        assert main([*one, "--output", str(tmp_path / f"{name}.png"), *more]) == 0
        with Image.open(tmp_path / f"{name}.png") as image:
            drawn[name] = np.asarray(image).astype(int)
    assert len({picture.tobytes() for picture in drawn.values()}) == 4
    capsys.readouterr()
    assert main([*one, "--output", str(tmp_path / "new.png"), "--region", "<y>", str(half)]) == 2
    assert "regions name '<y>', which is not loaded" in capsys.readouterr().err
    assert main(["personalize", *run, "--output", str(out), "--steps", "2"]) == 1
    assert "already holds a run; resume it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "none", "--token", "<x>"], "error: there is no folder or picture none"),
        (["--images", ".", "--token", "<x>", "--config", "nanno"], "error: there is no settings file nanno"),
        (["--images", ".", "--token", "<x>", "--train.steps", "0"], "steps must be positive, got 0"),
    ],
)
def test_bad_input(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["personalize", *arguments, "--output", str(tmp_path / "o")])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["generate", "--promt", "x", "--output", "o.png"])
    assert stop.value.code == 2


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "--prompt", "x", "--output", str(tmp_path / "o.png"), "--model", "./none"]
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*arguments, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
