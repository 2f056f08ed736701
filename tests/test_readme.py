"""Examples in README.md and in docstrings run as they are written."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEPS = 10
"""Steps of a training and of a generation in the examples, where they take the defaults: what is tested is that they
run, and defaults take minutes."""


def modules_with_examples() -> list[str]:
    paths = [path for top in ("mappers", "nerf", "pipelines") for path in sorted((ROOT / top).rglob("*.py"))]
    chosen = [path.relative_to(ROOT) for path in paths if re.search(r"^\s*>>> ", path.read_text("utf-8"), re.MULTILINE)]
    return [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in chosen]


@pytest.mark.parametrize("module", modules_with_examples())
def test_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted
    assert not found.failed


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the files of a user that examples may name."""
    from pipelines.nano import world

    monkeypatch.chdir(tmp_path)
    Path("my_pictures").mkdir()
    for i, picture in enumerate(world.render_all(world.reference_scenes("teapot"))):
        picture.save(f"my_pictures/{i}.png")
    for name, thing in (("bell.png", "bell"), ("photo.png", "duck")):
        (picture,) = world.render_all(world.reference_scenes(thing, 1))
        picture.save(name)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings and generations of `STEPS` steps where an example takes the default number."""
    from mappers.training.train_config import TrainConfig
    from pipelines.personalization.pipeline import NeTIPipeline

    with_overrides = TrainConfig.with_overrides

    def few(self: TrainConfig, **values: Any) -> TrainConfig:
        made = with_overrides(self, **values)
        steps = min(made.steps, STEPS)
        return dataclasses.replace(made, steps=steps, warmup_steps=min(made.warmup_steps, steps))

    monkeypatch.setattr(TrainConfig, "with_overrides", few)
    call = NeTIPipeline.__call__
    while hasattr(call, "__wrapped__"):
        call = call.__wrapped__
    assert "num_inference_steps" in (call.__kwdefaults__ or {})
    monkeypatch.setitem(call.__kwdefaults__, "num_inference_steps", STEPS)


@pytest.mark.slow
@pytest.mark.usefixtures("files", "short")
def test_python_blocks_of_the_readme() -> None:
    """In their order and with each other's names, as a reader would type them into one session."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, Any] = {"__name__": "readme"}
    for i, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {i + 1}", "exec"), names)
