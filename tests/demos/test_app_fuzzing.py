"""The app's endpoints on random values and files: what was asked for, or one sentence that says why not."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from demos.app import build
from demos.tabs.editing_models import found
from demos.visitors import Studio, new_visitor

COUNT = 240
"""Inputs."""


def faults(count: int, fuzzing: ModuleType, base: Path) -> list[str]:
    from fuzzing import endpoints  # the fixture has made it known

    root, visitor = base / "app", new_visitor()
    root.mkdir()
    page = build(Studio(root, categories=found(), worker=endpoints.Inline()))

    def look(rng: random.Random, folder: Path) -> object:
        return endpoints.look(page, rng, folder, root, visitor)

    return fuzzing.trial.faults_of(look, count, base)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_an_endpoint_does_it_or_says_why_not(fuzzing: ModuleType, tmp_path: Path, loops: None) -> None:
    assert not faults(COUNT, fuzzing, tmp_path)
