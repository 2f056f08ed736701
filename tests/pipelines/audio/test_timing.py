"""What keeps time, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pipelines.audio.conditioning import aggregate, remove_directions, slerp
from pipelines.audio.timing import (
    embeds_at,
    find_onsets,
    frame_motion,
    onset_gain,
    predict_tiles,
    tile_bounds,
    window_embeds,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_slerp_goes_at_even_speed_over_the_sphere() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    third = torch.tensor([[np.cos(np.pi / 6), np.sin(np.pi / 6)]], dtype=torch.float32)
    torch.testing.assert_close(slerp(a, b, 1 / 3), third)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    assert torch.isfinite(slerp(a, -a, 0.4)).all()
    x, y = unit(5, 8), unit(5, 8, seed=1)
    torch.testing.assert_close(slerp(x, y, 0.0), x)
    torch.testing.assert_close(slerp(x, y, 1.0), y)


def test_frames_count_by_direction_in_any_order() -> None:
    x = unit(4, 8)
    torch.testing.assert_close(aggregate(x * torch.tensor([[1.0], [2.0], [3.0], [9.0]])), aggregate(x.flip(0)))
    torch.testing.assert_close(aggregate(x[:1].expand(5, -1)), x[:1])


def test_what_is_projected_off_is_gone_and_nothing_else() -> None:
    x, away = unit(3, 8), unit(2, 8, seed=1)
    left = remove_directions(x, away)
    assert (left @ away.T).abs().max() < 1e-6
    torch.testing.assert_close(remove_directions(left, away), left)
    with pytest.raises(ValueError, match="name fewer things in without"):
        remove_directions(away[:1], away)


def test_windows_have_the_mean_of_their_frames_or_the_nearest_one() -> None:
    x = unit(6, 8)
    found = window_embeds(x, [0.0, 0.1, 0.9, 1.0, 1.5, 3.9], 4.0, 1.0)
    assert found.shape == (4, 8)
    torch.testing.assert_close(found[:1], aggregate(x[:3]))
    torch.testing.assert_close(found[1:2], aggregate(x[3:5]))
    torch.testing.assert_close(found[2], x[4])
    torch.testing.assert_close(found[3], x[5])
    torch.testing.assert_close(window_embeds(x, [0.0, 0.1, 0.9, 1.0, 1.5, 3.9], 4.0, 9.0), aggregate(x))


def test_the_way_along_windows_passes_through_their_middles() -> None:
    x = unit(2, 4, 8)
    for number in range(4):
        torch.testing.assert_close(embeds_at(x, (number + 0.5) / 4), x[:, number])
    torch.testing.assert_close(embeds_at(x, 0.0), x[:, 0])
    torch.testing.assert_close(embeds_at(x, 1.0), x[:, 3])
    torch.testing.assert_close(embeds_at(x, 0.25), slerp(x[:, 0], x[:, 1], 0.5))


@pytest.mark.parametrize(("height", "longest"), [(5, 8), (8, 8), (9, 8), (40, 8), (37, 6), (33, 16)])
def test_tiles_fill_the_height_and_overlap_by_half(height: int, longest: int) -> None:
    tiles = tile_bounds(height, longest)
    assert tiles[0][0] == 0
    assert tiles[-1][1] == height
    for (start, end), (after, _) in zip(tiles, tiles[1:], strict=False):
        assert end - start == min(height, longest)
        assert after <= start + (longest + 1) // 2
    latents = torch.randn(2, 3, height, 4)
    same = predict_tiles(lambda part, _: 2 * part, latents, unit(2, 3, 8), longest)
    torch.testing.assert_close(same, 2 * latents)


def test_onsets_are_where_something_starts_to_move() -> None:
    shades = [0, 0, 0, 0, 200, 200, 200, 200, 200, 20, 20, 20]
    pictures = [Image.new("RGB", (40, 30), (shade, shade, shade)) for shade in shades]
    times = [number / 10 for number in range(12)]
    motion = frame_motion(pictures)
    assert motion[4] == pytest.approx(200 / 255, abs=0.01)
    assert find_onsets(motion, times) == [0.4, 0.9]
    assert find_onsets(frame_motion(pictures[:4]), times[:4]) == []
    gain = onset_gain([0.4, 0.9], 120, 0.01, 1.0)
    assert gain.shape == (120,)
    assert gain[40] == pytest.approx(0, abs=0.05)
    assert gain[39] == pytest.approx(np.log(0.05))
    assert gain[88] < gain[60] < gain[45] < gain[40]
    assert gain[90] == pytest.approx(0, abs=0.05)
    torch.testing.assert_close(onset_gain([], 5, 0.01, 1.0), torch.zeros(5))
    torch.testing.assert_close(onset_gain([0.4], 50, 0.01, 0.0), torch.zeros(50))
