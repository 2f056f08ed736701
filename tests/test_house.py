"""The house: imports go one way, the wheel holds what it should, file sizes stay in bounds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipelines", "mappers", "nerf", "demos", "configs")


def test_imports_go_one_way() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    for needed in (
        "configs/personalize/nano.yaml",
        "configs/accelerate/multi_gpu_ddp.yaml",
        "configs/compression/pictures32.yaml",
        "configs/train/hash.yaml",
        "nerf/nano/NOTICE.txt",
        "nerf/nano/pictures32/config.json",
        "nerf/nano/pictures32/model.safetensors",
        "nerf/scenes/data/LICENSE",
        "nerf/scenes/data/robot/transforms_train.json",
        "pipelines/nano/objects/LICENSE",
        "pipelines/nano/objects/teapot.webp",
        "pipelines/nano/text_to_image/LICENSE",
        "pipelines/nano/text_to_image/model_index.json",
        "pipelines/nano/text_to_image/unet/diffusion_pytorch_model.safetensors",
    ):
        assert needed in names


def test_modules_stay_readable() -> None:
    """About 400 lines each at most, and no rooms that collect strays."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, f"{path} is too long"
            assert path.stem not in ("utils", "helpers", "misc", "common"), path
