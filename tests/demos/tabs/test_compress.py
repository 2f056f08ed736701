"""The tab Compress: regions, other codecs at equal bytes, and what is compared."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from demos.records import Record
from demos.tabs import compress
from demos.tabs.compress_jobs import SIDE, _encoded, _region, best_of
from demos.tabs.compress_layout import INPUT


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photo-like picture: smooth, with edges and some noise."""
    rows, columns = np.mgrid[:300, :400]
    noise = np.random.default_rng(0).normal(0, 8, (300, 400))
    gray = 120 + 60 * np.sin(columns / 40) + 40 * (rows > 150) + noise
    return Image.fromarray(np.stack([gray, gray * 0.8, 255 - gray], -1).clip(0, 255).astype(np.uint8))


def test_a_region_is_sharp_and_the_whole_picture_smaller(photo: Image.Image) -> None:
    assert _region(photo.copy(), None).size == (SIDE, 96)
    middle = _region(photo, (0.5, 0.5))
    assert middle.tobytes() == photo.crop((136, 86, 264, 214)).tobytes()
    for part in ((0, 0), (1, 1)):  # at the border the square moves inwards
        assert _region(photo, part).size == (SIDE, SIDE)
    assert _region(photo.resize((50, 40)), (0.2, 0.9)).size == (50, 40)


@pytest.mark.parametrize("form", ["JPEG", "AVIF"])
def test_the_best_file_of_a_codec_is_the_largest_that_fits(photo: Image.Image, form: str) -> None:
    small = photo.resize((64, 48))
    sizes = {quality: len(_encoded(small, form, quality)) for quality in (20, 50)}
    found = best_of(small, form, sizes[50])
    assert found is not None
    assert sizes[20] < len(found) <= sizes[50]
    assert best_of(small, form, 50) is None


def test_compares_with_what_there_is(tmp_path: Path) -> None:
    for name in ("input", "decoded", "avif"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    made = {name: str(tmp_path / f"{name}.png") for name in ("input", "decoded", "avif")}
    record = Record(tmp_path, "compress", "code", "", 0.0, {}, made | {"table": "t", "file": "f", "plot": "p"})
    other, pair, table, file, plot, pictures = compress.shown(record)
    assert (other, pair, table, file, plot) == ("AVIF", (made["avif"], made["decoded"]), "t", "f", "p")
    assert compress.pair(INPUT, pictures) == (made["input"], made["decoded"])
    with pytest.raises(gr.Error, match="there is no JPEG file as small as mapfield's"):
        compress.pair("JPEG", pictures)
