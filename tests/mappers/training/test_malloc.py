"""Whether freed memory stays with the process: page faults tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import torch
from mappers.training.malloc import keep_freed_memory
if sys.argv[1] == "kept":
    print(keep_freed_memory())
    torch.zeros(1 << 25)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kind: str) -> tuple[str, int]:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    return done[0], int(done[-1])


def test_blocks_of_64_mb_are_not_cleared_again_and_again() -> None:
    answer, kept = faults("kept")
    if answer != "True":
        pytest.skip("this C library's allocator has no setting that keeps memory")
    _, given_back = faults("given back")
    assert kept < 0.5 * given_back  # the first few blocks come from the system
