"""Commands of words, sounds and edits on random files: what was asked for, or one sentence that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COUNTS = {
    "personalize": 10, "generate": 12, "evaluate": 4, "export": 6, "import-neti": 6, "vision-to-audio": 10,
    "fit-mapper": 8, "evaluate-audio": 4, "edit-nerf": 8,
}  # fmt: skip
"""By command: a tenth of the inputs."""


@pytest.fixture(scope="module")
def shelf(fuzzing: ModuleType, tiny_model: Path, folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Small models, and a word that was learned on one of them."""
    place = tmp_path_factory.mktemp("shelf")
    picture = fuzzing.pictures.picture(fuzzing.random.Random(0), place, "a", plain=True)
    words = f"personalize --images {picture} --token <x> --model {tiny_model} --steps 1 --output {place / 'word'}"
    code, said = fuzzing.guard.command([*words.split(), *fuzzing.commands.SHORT])
    assert code == 0, said
    sounds = [f"--{name.replace('_', '-')}={path}" for name, path in folders.parts.items()]
    encoders = [f"--clip={folders.clip}", f"--clap={folders.clap}"]
    models = dict.fromkeys(("personalize", "generate", "import-neti"), [f"--model={tiny_model}"])
    models |= {"vision-to-audio": sounds, "evaluate-audio": sounds, "fit-mapper": encoders}
    return fuzzing.trial.Shelf(place, place, place / "word" / "concept.safetensors", models)


def test_every_command_is_tried(fuzzing: ModuleType, pytestconfig: pytest.Config) -> None:
    tests = pytestconfig.rootpath / "tests"
    every = json.loads((tests / "expected" / "commands.json").read_text(encoding="utf-8"))
    names = {name.removeprefix("mapfield ") for name in every}
    assert names == fuzzing.commands.MAKERS.keys() | fuzzing.commands.ASIDE
    assert COUNTS.keys() == {name for name in fuzzing.commands.MAKERS if not name.startswith("nerf ")}


@pytest.mark.long
@pytest.mark.parametrize("command", COUNTS)
def test_a_command_does_it_or_says_why_not(command: str, fuzzing: ModuleType, shelf: Any, tmp_path: Path) -> None:
    assert not fuzzing.trial.command_faults(command, 10 * COUNTS[command], tmp_path, shelf)
