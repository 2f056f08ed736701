"""Programs that are killed while they write leave no half-written file under a final name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(signal, "SIGKILL"), reason="needs fork")


def kill_at(moments: int, folder: Path, fuzzing: ModuleType) -> None:
    """Kill writers at random moments, and read what they leave."""
    program = ROOT / "tests" / "fuzzing" / "killed.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", program, folder, str(moments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert len(list(folder.iterdir())) == moments
    assert not fuzzing.killed.unreadable(folder)


@pytest.mark.long
def test_a_program_killed_at_two_hundred_moments_leaves_whole_files(tmp_path: Path, fuzzing: ModuleType) -> None:
    kill_at(200, tmp_path, fuzzing)


@pytest.mark.long
def test_a_half_written_file_is_found(tmp_path: Path, fuzzing: ModuleType) -> None:
    fuzzing.killed.WRITERS["sound"](tmp_path, 0)
    assert not fuzzing.killed.unreadable(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(fuzzing.killed.unreadable(tmp_path)) == 1
