"""The command beside files of the same names, and an installation that another distribution has overwritten."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mapfield import installation
from mapfield.installation import PACKAGES, faults, hidden_by

ROOT = Path(__file__).parents[2]


def hostile(folder: Path) -> None:
    """Write a module or package for every name of ours, each of which ends the program that imports it."""
    for name in PACKAGES:
        path = folder / f"{name}.py" if name in ("nerf", "demos") else folder / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('a foreign package was imported')\n")


def test_the_working_folder_and_the_search_path_do_not_matter(tmp_path: Path) -> None:
    """All commands are read, settings and models are found, and the others are named."""
    hostile(tmp_path)
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from mapfield.cli import main;"
        " code = main(['models']); assert not code; main(['personalize', '--config', 'stable-diffusion', '--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "nerf" / "nano" / "photos") in done.stdout
    assert "(default: 1000)" in done.stdout  # steps of this file; nano's are others


def test_others_of_the_same_name_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in PACKAGES:
        assert any(path.is_relative_to(tmp_path) for path in hidden_by(name))
    monkeypatch.chdir(ROOT)
    assert not any(path.is_relative_to(tmp_path) for path in hidden_by("nerf"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages: mapfield's, and what pip notes about them."""
    lines = []
    for name in PACKAGES:
        path = tmp_path / name / "__init__.py"
        path.parent.mkdir()
        path.write_text(f"# {name}\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        lines.append(f"{name}/__init__.py,sha256={digest},{path.stat().st_size}\n")
    describe(tmp_path, "mapfield", lines)
    return tmp_path


def describe(site: Path, name: str, record: list[str]) -> None:
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "RECORD").write_text("".join(record))


def test_an_installation_as_it_was_made_has_no_faults(site: Path) -> None:
    assert faults(site) == []
    assert faults() == []


def test_a_distribution_that_replaced_a_package_is_named(site: Path) -> None:
    (site / "nerf" / "__init__.py").write_text("class NeRF: pass\n")
    describe(site, "otherproj", ["nerf/__init__.py,,\n"])
    (fault,) = faults(site)
    assert "nerf/__init__.py is not mapfield's: the distribution otherproj 1.0 replaced it; uninstall that" in fault


def test_a_package_that_is_gone_is_named(site: Path) -> None:
    (site / "configs" / "__init__.py").unlink()
    (fault,) = faults(site)
    assert fault.startswith(f"mapfield's package configs is missing in {site}; reinstall mapfield: python -m pip")


def test_the_command_says_so_and_stops(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mapfield import cli

    (site / "nerf" / "__init__.py").unlink()
    found = faults(site)
    monkeypatch.setattr(installation, "faults", lambda: found)
    assert cli.main(["models"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {found[0]}\n")
    assert cli.main(["env"]) == 1
    assert f"{found[0]}" in capsys.readouterr().out


def test_a_foreign_package_in_a_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "nerf.py").write_text("")
    code = "import pipelines\ntry: pipelines.distill\nexcept ImportError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"Python imported {tmp_path / 'nerf.py'} instead of mapfield's package nerf; rename it" in done.stdout
