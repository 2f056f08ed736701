"""Views are checked where they are made."""

from __future__ import annotations

import pytest

from nerf.conditional.views import View, turntable_views


def test_turntables_go_once_around() -> None:
    views = turntable_views(4, 32)
    assert [view.azimuth % 360 for view in views] == [235, 325, 55, 145]
    assert {view.size for view in views} == {32}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be at least 1 pixel, got 0"),
        ({"elevation": 91.0}, "elevation must be in -90..90 degrees, got 91.0"),
        ({"azimuth": float("nan")}, "azimuth must be a finite number of degrees"),
    ],
)
def test_impossible_views_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(**wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        turntable_views(0, 32)
