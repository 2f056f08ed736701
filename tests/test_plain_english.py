"""Words of a private idiom that a stranger had to translate: pages and code use the plain word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IDIOMS = {
    r"in place of": "instead of",
    r"(?:comes?|came|coming) to": "is, reaches",
    r"(?:stands?|stood|standing) for": "represents",
    r"told": "predicted, given, known",
    r"wish(?:es|ed)?": "target",
    r"lessons?": "supervision",
    r"likeness(?:es)?": "similarity",
    r"nobody has": "it has not been ... yet",
    r"beside": "compared with, next to, and",
    r"by heart": "overfits, from memory",
}
"""A pattern of whole words, and what to write."""
TEXTS = ("docs", "benchmarks", "nerf", "pipelines")
"""Folders of the manual, of the benchmarks' overview and of the model cards."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for top in TEXTS for path in sorted((ROOT / top).rglob("*.md"))),
]

CODE = ("mapfield", "mappers", "nerf", "pipelines", "demos", "benchmarks")
SAVED_NAMES = {"mappers/code_mapper.py": r"\"told\"|self\.told"}
"""Names in files written so far, which stay readable."""
MODULES = [path for top in CODE for path in sorted((ROOT / top).rglob("*.py"))]


def idioms_in(text: str) -> list[str]:
    """Line number, idiom and what to write, for each idiom in ``text``; one may be broken over two lines."""
    found = []
    for pattern, plain in IDIOMS.items():
        words = pattern.replace(" ", r"\s+")
        for match in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"line {line}: {' '.join(match[0].split())!r}; write: {plain}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    assert idioms_in(page.read_text(encoding="utf-8")) == []


def test_modules_are_in_plain_english() -> None:
    found = {}
    for path in MODULES:
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        found[name] = idioms_in(re.sub(SAVED_NAMES[name], "", text) if name in SAVED_NAMES else text)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_an_idiom_is_found_across_lines_and_a_part_of_a_word_is_not() -> None:
    assert idioms_in("A mean in\nplace of it") == ["line 1: 'in place of'; write: instead of"]
    assert idioms_in("Besides, the untold outcomes totalled three") == []
