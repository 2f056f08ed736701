"""``python -m nerf`` from end to end, and bad input in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nerf.cli import main

QUICK = ["--train.batch-size", "128", "--intervals", "24", "--occupancy", "12", "--train.cpu"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom nerf.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--train.learning-rate" in done.stdout


def test_train_distill_evaluate_render_export(
    scene_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student = tmp_path / "a", tmp_path / "b"
    run = ["train", "--scene", str(scene_folder), "--field", "hash", "--output", str(teacher), "--steps", "12", *QUICK]
    assert main(run) == 0
    assert main(run) == 1
    assert "already holds a run" in capsys.readouterr().err
    distill = ["distill", "--teacher", str(teacher), "--field", "mlp", "--output", str(student), "--steps", "2"]
    assert main([*distill, "--train.batch-size", "128", "--train.cpu"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--run", str(student)]) == 0
    assert capsys.readouterr().out.startswith("psnr ")
    assert (student / "evaluation.png").is_file()
    assert main(["render", "--run", str(student), "--views", "2", "--size", "16"]) == 0
    assert (student / "turntable.mp4").is_file()
    folder = tmp_path / "views"
    assert (
        main(["render", "--run", str(student), "--views", "2", "--size", "16", "--output", str(folder), "--depth"]) == 0
    )
    assert sorted(path.name for path in folder.iterdir()) == ["000.png", "000_depth.png", "001.png", "001_depth.png"]
    cloud = tmp_path / "p.ply"
    assert (
        main(
            [
                "export",
                "--run",
                str(teacher),
                "--kind",
                "points",
                "--views",
                "2",
                "--size",
                "16",
                "--output",
                str(cloud),
            ]
        )
        == 0
    )
    assert cloud.stat().st_size > 100


def test_make_scene(tmp_path: Path) -> None:
    assert (
        main(["make-scene", "--name", "temple", "--output", str(tmp_path), "--size", "16", "--views", "2", "0", "1"])
        == 0
    )
    with Image.open(next(tmp_path.rglob("*.png"))) as picture:
        assert picture.size == (16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--scene", "nowhere"], "there is no folder nowhere, and no shipped scene of that name; shipped are"),
        (
            ["train", "--scene", "robot", "--field", "nope"],
            "unknown field 'nope'; known are cam, cam-time, cp, hash, mlp, splat, vm, voxel",
        ),
        (["train", "--scene", "robot", "--size", "huge"], "hash has no size 'huge'; known are small, paper"),
        (["distill", "--teacher", "nowhere"], "nowhere holds no finished run"),
        (["train", "--scene", "robot", "--bounds", *"111000"], "bounds must be a lower and an upper corner"),
        (["train", "--scene", "robot", "--format", "llff"], "robot/poses_bounds.npy is not a NumPy array"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
