"""The release: a wheel and a source distribution that install elsewhere and work from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 95_000_000
"""Bytes: a package index takes 100 MB."""


COMMANDS = """
import contextlib
from pathlib import Path
from mapfield.cli import main
assert not main(["generate", "--prompt", "a photo of a bell", "--count", "1", "--steps", "2", "--output", "a.png"])
assert not main(["nerf", "compress", "a.png", "a.mfc", "--model", "tiny", "--target-bytes", "2000"])
with Path("info.txt").open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
    assert not main(["nerf", "info", "a.mfc", "--model", "tiny"])
"""
"""What is asked of an installation, as its command ``mapfield`` does it."""


def build(folder: Path, target: str, source: Path = ROOT) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=source, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return made


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.mark.slow
def test_the_wheel_is_small_enough(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST_WHEEL


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    source = build(tmp_path, "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / source.name.removesuffix(".tar.gz")
    for needed in ("CITATION.cff", "CHANGELOG.md", "constraints.txt", "docs/index.md", "tests/conftest.py"):
        assert (unpacked / needed).is_file(), needed
    assert names(build(tmp_path, "wheel", unpacked)) == names(wheel)


@pytest.mark.slow
def test_an_installed_wheel_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are those of the tests' own environment, so that nothing is downloaded."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    scripts = place / ("Scripts" if sys.platform == "win32" else "bin")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--no-deps", "--no-index", "-q",
         "--disable-pip-version-check", str(wheel)], capture_output=True, text=True,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    (packages,) = place.glob("**/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str) -> str:
        program = [scripts / command[0], *command[1:]]
        done = subprocess.run(program, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Of names that others use too, the command finds its own.
    (tmp_path / "nerf.py").write_text("raise SystemExit('a foreign module was imported')\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("")
    assert run("mapfield", "--version") == f"mapfield {version('mapfield')}\n"
    found = {line.split("\t")[0]: Path(line.split("\t")[-1]) for line in run("mapfield", "models").splitlines()}
    assert {"nano", "nano-clip", "nano-audio", "nano-clap", "pictures32", "photos", "sounds"} <= set(found)
    for folder in found.values():
        assert folder.is_relative_to(packages.resolve())
    # One process for the rest: each that starts imports torch and its like again.
    run("python", "-c", COMMANDS)
    assert (tmp_path / "a.png").is_file()
    assert "picture" in (tmp_path / "info.txt").read_text(encoding="utf-8")
    assert "personalize" in run("mapfield", "app", "--help")
    assert "personalize" in run("python", "-m", "demos", "--help")


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("mapfield")
