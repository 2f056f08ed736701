"""The video codec to compare with."""

from __future__ import annotations

import numpy as np

from benchmarks.common.video_codecs import h264, mean_psnr, overall_psnr


def test_h264_gives_more_quality_for_more_bytes() -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    frames = np.stack([np.stack([128 + 100 * np.sin((x + k) / 6) * np.cos(y / 9)] * 3, -1) for k in range(6)])
    frames = frames.astype(np.uint8)
    small, large = h264(frames, 24, 45), h264(frames, 24, 15)
    assert small[0] < large[0]
    assert small[1] + 5 < large[1]


def test_overall_psnr_is_not_the_mean_of_frames() -> None:
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    frames = truth.copy()
    frames[1] += 16
    assert mean_psnr(frames, truth) > overall_psnr(frames, truth) + 10
