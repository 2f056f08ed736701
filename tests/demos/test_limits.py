"""What a visitor may ask."""

from __future__ import annotations

import pytest

from demos.limits import Limits


def test_limits_are_positive_numbers() -> None:
    for name, value in (("jobs", 0), ("keep_hours", -1.0), ("megapixels", float("nan"))):
        with pytest.raises(ValueError, match=f"{name} must be a positive number"):
            Limits(**{name: value})  # pyright: ignore[reportArgumentType]


def test_the_page_says_how_long_results_are_kept() -> None:
    texts = [Limits(keep_hours=hours).kept for hours in (168, 24, 1, 0.5, 36)]
    assert texts == ["7 days", "1 day", "1 hour", "0.5 hours", "36 hours"]
