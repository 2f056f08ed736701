"""PSNR: its closed form for tensors, arrays and bytes, and what equal pictures have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mappers.quality import psnr, psnr_of


def test_a_tenth_of_the_range_everywhere_is_20_db() -> None:
    assert psnr(torch.zeros(4, 4, 3), torch.full((4, 4, 3), 0.1)) == pytest.approx(20, abs=1e-4)
    assert psnr(np.zeros((4, 4), np.uint16), np.full((4, 4), 6553.5), peak=65535) == pytest.approx(20)
    assert psnr_of(0.04, peak=2) == pytest.approx(20)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_bytes_have_the_peak_255_and_do_not_wrap_around(kind: type) -> None:
    dark, bright = (kind([[value] * 4], dtype=torch.uint8 if kind is torch.tensor else np.uint8) for value in (0, 255))
    assert psnr(dark, bright) == pytest.approx(0, abs=1e-5)
    assert psnr(bright, dark) == pytest.approx(0, abs=1e-5)


def test_equal_pictures_have_100_db() -> None:
    picture = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert psnr(picture, picture) == pytest.approx(100)
    assert psnr(picture.numpy(), picture.numpy()) == pytest.approx(100)
    assert psnr_of(torch.zeros(2)).tolist() == pytest.approx([100, 100])


def test_values_outside_the_range_count_as_its_ends() -> None:
    assert psnr(torch.tensor([1.5, -0.5]), torch.tensor([1.0, 0.0])) == pytest.approx(100)


def test_tensors_of_errors_keep_their_shape_and_what_is_not_a_number() -> None:
    values = psnr_of(torch.tensor([0.01, float("nan"), 1.0]))
    assert values[[0, 2]].tolist() == pytest.approx([20, 0])
    assert bool(values[1].isnan())
