"""A target that cannot be met is said, and qualities are those of what was given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from nerf.compression import writer
from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import compress, decompress

Maker = Callable[..., Image.Image]


def test_a_target_that_the_model_cannot_fill_is_said(
    picture: Maker, quick: EncodeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(compress(picture(16, 16), model="tiny", target_bytes=20000, config=quick).data)
    assert f"the file has {size} bytes, {20000 - size} fewer than target_bytes 20000" in caplog.text
    caplog.clear()
    compress(picture(16, 16), model="tiny", target_bytes=45, config=quick)
    assert not caplog.text


def test_a_quality_out_of_reach_is_refused_after_a_short_search(
    picture: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[EncodeConfig] = []
    encoder = writer.Encoder

    def watched(*arguments: object) -> object:
        searches.append(arguments[-1])  # pyright: ignore
        return encoder(*arguments)  # pyright: ignore

    monkeypatch.setattr(writer, "Encoder", watched)
    with pytest.raises(
        ValueError, match=r"target_psnr 60 dB is more than this model reaches: .* reaches \d\d\.\d\d dB"
    ):
        compress(picture(16, 16), model="tiny", target_psnr=60, config=EncodeConfig(steps=80, rounds=4, round_steps=2))
    assert [search.steps for search in searches] == [80 // writer.QUICK]


@pytest.mark.parametrize("name", ["target_bytes", "target_psnr", "seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_targets_are_positive_numbers(name: str, value: float, picture: Maker) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive number, got {value}"):
        compress(picture(8, 8), model="tiny", **{name: value})  # pyright: ignore


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_the_psnr_of_a_deep_picture_is_that_of_its_own_values(dtype: type, picture: Maker, quick: EncodeConfig) -> None:
    unit = np.asarray(picture(24, 16, "L")) / 255
    white = 1 if dtype == np.float32 else 65535
    original = (unit * 0.1 * white).astype(dtype)
    if dtype == np.float32:
        original[0, 0] = 1.5
    done = compress(Image.fromarray(original), model="tiny", config=quick)
    decoded = np.asarray(decompress(done.data)) / 255
    assert decoded.shape == original.shape
    error = np.square(decoded - original / white).mean()
    assert done.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert decoded.mean() == pytest.approx((original / white).mean(), abs=0.02)
