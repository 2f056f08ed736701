"""One declaration of options for a function and its command."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mappers.options import RunLength, declared_by, help_texts


@dataclass(frozen=True, kw_only=True)
class Shared(RunLength):
    name: str
    """What it is
    called."""
    words: dict[str, str] = field(default_factory=dict)
    size: int = 3
    """How large."""


def test_help_is_that_of_the_fields_and_of_their_base() -> None:
    texts = help_texts(Shared)
    assert texts["name"] == "What it is called."
    assert texts["size"] == "How large."
    assert "Optimizer steps" in texts["steps"]
    assert "words" not in texts


def test_a_function_has_the_help_in_its_docstring() -> None:
    @declared_by(RunLength)
    def run(*, steps: int | None = None, max_minutes: float | None = None, seed: int = 0, resume: bool = False) -> int:
        """Run.

        Args:
            none: of its own.
        """
        return seed

    assert run(seed=2) == 2
    assert f"    seed: {help_texts(RunLength)['seed']}" in str(run.__doc__)


def test_names_and_defaults_may_not_drift() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Options:
        size: int = 3
        words: dict[str, str] = field(default_factory=dict)

    declared_by(Options)(lambda size=3, words=None: size)
    declared_by(Options)(lambda size, words: size)
    with pytest.raises(TypeError, match="size has another default than in Options"):
        declared_by(Options)(lambda size=4, words=None: size)
    with pytest.raises(TypeError, match="words of Options is not an argument"):
        declared_by(Options)(lambda size=3: size)
