"""Idle threads of OpenMP sleep soon, whichever package of mapfield a program imports first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mappers import SPINS

FREE = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}


def spins(package: str, **environment: str) -> str:
    code = (
        f"import os, sys, {package}; assert 'torch' not in sys.modules;"
        " print(os.environ.get('GOMP_SPINCOUNT'))"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=FREE | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["pipelines", "nerf", "mappers", "demos.cli", "mapfield.commands"])
def test_the_limit_is_set_before_torch_is_imported(package: str) -> None:
    assert spins(package) == SPINS


def test_what_the_user_sets_counts() -> None:
    assert spins("pipelines", GOMP_SPINCOUNT="7") == "7"
    assert spins("pipelines", OMP_WAIT_POLICY="passive") == "None"
