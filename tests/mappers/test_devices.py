"""The device that is chosen, for accelerators that this machine does not have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mappers.devices import default_device

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_an_accelerator_is_taken_when_there_is_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    assert default_device() == torch.device(kind, 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert default_device() == torch.device(kind, 3)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert default_device() == torch.device("cpu")


def test_without_one_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert default_device() == torch.device("cpu")


def test_no_other_place_chooses_between_gpu_and_cpu() -> None:
    choice = re.compile(r"""["'](cuda|mps)["']\)? if .*is_available\(\)""")
    found = [p for name in ("mappers", "nerf", "pipelines", "demos") for p in (ROOT / name).rglob("*.py")
             if choice.search(p.read_text(encoding="utf-8"))]  # fmt: skip
    assert not found
