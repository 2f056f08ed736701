"""The benchmark of photographs, at a small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.common.picture_codecs import CODECS, PictureCodec
from benchmarks.common.results import Results
from benchmarks.compression import photos
from mappers.command_line import run_script


def test_a_small_picture_is_measured_and_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    pixels = np.stack([128 + 80 * np.sin(x / 9), 128 + 80 * np.cos(y / 11), 2.0 * (x + y)], -1)
    (tmp_path / "kodak").mkdir()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "kodak" / "small.png")
    monkeypatch.setattr(photos, "RATES", {"crops": (), "whole": (0.4,)})
    for name, codec in CODECS.items():
        monkeypatch.setitem(CODECS, name, PictureCodec(codec.format, codec.settings[::12]))
    words = ["--data", str(tmp_path), "--whole", "--output", str(tmp_path / "photos.json")]
    assert run_script(photos.main, words) == 0
    results = Results(tmp_path / "photos.json")
    row = results.rows["whole: small at 0.4"]
    assert row["bytes"] <= 0.4 * 64 * 64 / 8
    assert row["psnr"] > 15
    assert results.rows["whole: small at 0.4, other codecs"].keys() == {"JPEG", "WebP", "AVIF", "JPEG 2000"}
    assert results.tables[0].title == "Whole photographs"
    monkeypatch.setattr(photos, "measure", None)
    monkeypatch.setattr(photos, "curves_of", None)
    assert run_script(photos.main, words) == 0


def test_a_folder_without_photographs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(photos.main, ["--data", str(tmp_path), "--output", str(tmp_path / "photos.json")]) == 2
    assert "no pictures in" in capsys.readouterr().err
