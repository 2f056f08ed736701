"""Runs a command, or anything else, on many random inputs, always the same ones, and collects all faults."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from . import guard
from .commands import words_of

OLD_FILES = Path(__file__).parents[1] / "expected" / "nerf" / "compression" / "old_files.json"


@dataclass
class Shelf:
    """What commands choose of."""

    packed: Path
    """Folder of compressed files."""
    run: Path
    """Run of a field."""
    word: Path | None = None
    """A learned word."""
    models: dict[str, list[str]] = field(default_factory=dict)
    """By command: options that name small models."""


def stocked(folder: Path) -> Shelf:
    """A shelf in an empty folder, with a compressed file of each kind and a field that hardly learned."""
    packed, run = folder / "packed", folder / "run"
    packed.mkdir()
    for name, text in json.loads(OLD_FILES.read_text(encoding="utf-8")).items():
        (packed / f"{name}.mfc").write_bytes(base64.b64decode(text))
    words = f"nerf train --scene robot --downscale 10 --field cp --steps 1 --train.batch-size 16 --output {run}"
    code, said = guard.command(words.split())
    assert code == 0, said
    return Shelf(packed, run)


def faults_of(look: Callable[[random.Random, Path], guard.Answer], count: int, base: Path) -> list[str]:
    """The faults that ``count`` inputs show, each with its input.

    Args:
        look: draws an input, writes its files to an empty folder, and tries it.
        count: the first of them are those of a smaller count.
        base: an existing folder for these folders.
    """
    found: list[str] = []
    answers: list[guard.Answer] = []
    numbers = itertools.count()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=True))
    def tried(rng: random.Random) -> None:
        folder = base / str(next(numbers))
        folder.mkdir()
        answer = look(rng, folder)
        shutil.rmtree(folder)
        answers.append(answer)
        found.extend(f"{fault}\n  {answer.about}" for fault in answer.faults)
        if "MAPFIELD_FUZZING_LOG" in os.environ:  # to read what is said of each
            said = " | ".join(answer.said.splitlines())
            line = (
                f"{answer.code} {answer.seconds:.1f}s +{answer.grown // 1000}MB {said[:400]}  <- {answer.about[:300]}"
            )
            print("\n  FAULT ".join([line, *answer.faults]), file=sys.__stderr__, flush=True)

    tried()
    assert len(answers) >= 0.9 * count
    return found


def command_faults(command: str, count: int, base: Path, shelf: Shelf) -> list[str]:
    """The faults that a command shows on ``count`` random inputs."""

    def look(rng: random.Random, folder: Path) -> guard.Answer:
        words = words_of(command, rng, folder, shelf)
        with guard.working_in(folder):
            # An evaluation of a field is kept with its run.
            endings = ("", ".png", ".json") if command == "nerf evaluate" else ()
            made = [folder / words[3] / f"evaluation{ending}" for ending in endings]
            return guard.watched(
                " ".join(map(repr, words)), lambda: guard.command(words), folder, [folder / "out", *made],
                names=[word for word in words if word.strip("-.")],
            )  # fmt: skip

    return faults_of(look, count, base)
