"""Commands of fields and of compression on random files: what was asked for, or one sentence that says why not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COUNTS = {
    "nerf compress": 22, "nerf decompress": 20, "nerf train": 22, "nerf fit": 12, "nerf render": 14, "nerf export": 12,
    "nerf distill": 8, "nerf evaluate": 8, "nerf info": 8, "nerf make-scene": 6,
}  # fmt: skip
"""By command: a tenth of the inputs of the whole test; those that read files of many kinds have more."""
QUICK = ("nerf render", "nerf export", "nerf evaluate", "nerf info", "nerf make-scene")
"""Commands that are also tried on that tenth by every run of the tests; the others have not passed it yet."""


@pytest.fixture(scope="module")
def shelf(fuzzing: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fuzzing.trial.stocked(tmp_path_factory.mktemp("shelf"))


@pytest.mark.parametrize("command", QUICK)
def test_a_command_does_it_or_says_why_not(command: str, fuzzing: ModuleType, shelf: Any, tmp_path: Path) -> None:
    assert not fuzzing.trial.command_faults(command, COUNTS[command], tmp_path, shelf)


@pytest.mark.long
@pytest.mark.parametrize("command", COUNTS)
def test_a_command_does_so_on_ten_times_as_many(command: str, fuzzing: ModuleType, shelf: Any, tmp_path: Path) -> None:
    assert not fuzzing.trial.command_faults(command, 10 * COUNTS[command], tmp_path, shelf)
