"""Rate-distortion curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common.curves import CAPTION, plot_curves, psnr_at, side_by_side


def test_a_curve_is_read_between_its_points() -> None:
    points = [(2.0, 30.0), (1.0, 20.0)]
    assert psnr_at(points, 1.5) == 25.0
    assert psnr_at(points, 0.9) is None
    assert psnr_at(points, 2.1) is None


def test_a_setting_that_gives_less_for_more_counts_as_the_better_one() -> None:
    assert psnr_at([(1.0, 20.0), (2.0, 19.0), (3.0, 22.0)], 2.0) == 20.0


def test_a_plot_leaves_out_what_is_beyond_its_end(tmp_path: Path) -> None:
    plot_curves({"mapfield": [(0.5, 20.0), (1.0, 22.0)], "far": [(9.0, 40.0)]}, tmp_path / "plot.png", most=1.25)
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 100


def test_pictures_stand_in_a_row() -> None:
    page = side_by_side({"black": np.zeros((4, 6, 3), np.uint8), "white": np.full((4, 6, 3), 255, np.uint8)})
    assert page.size == (12, 4 + CAPTION)
    assert page.getpixel((2, CAPTION + 2)) == (0, 0, 0)
    assert page.getpixel((8, CAPTION + 2)) == (255, 255, 255)
