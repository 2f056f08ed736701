"""What an encoder of pictures says of azimuths, and its files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from mappers.code_mapper import RidgeCodeMapper
from mappers.picture_encoder import EncodedPicture, PictureEncoder, load_picture_encoder


@pytest.fixture
def encoder() -> PictureEncoder:
    torch.manual_seed(0)
    encoder = PictureEncoder(5, 3, size=16, channels=(8, 8), hidden=16, bins=12, field_space="of this field")
    encoder.set_statistics("shape", torch.randn(20, 5) + 3)
    encoder.set_statistics("appearance", torch.randn(20, 3) * 10)
    return encoder.eval()


def encoded(azimuth: torch.Tensor) -> EncodedPicture:
    count = len(azimuth)
    return EncodedPicture(azimuth, torch.zeros(count), torch.zeros(count, 1), torch.zeros(count, 1))


def test_azimuths_are_peaks_between_directions() -> None:
    directions = torch.arange(36) * (2 * math.pi / 36)
    truth = torch.tensor([0.3, 6.25, 3.1])
    logits = (directions - truth[:, None]).cos() / 0.02
    for found, wanted in zip(encoded(logits).azimuths(), truth.tolist(), strict=True):
        assert len(found) == 1
        assert math.cos(found[0] - wanted) > math.cos(0.03)


def test_ambiguous_azimuths_are_all_named_the_likeliest_first() -> None:
    directions = torch.arange(36) * (2 * math.pi / 36)
    peaks = [((directions - place).cos() / 0.02).exp() / math.exp(50) for place in (1.0, 4.0, 5.5)]
    found = encoded((0.5 * peaks[0] + peaks[1] + 0.05 * peaks[2] + 1e-6).log()[None]).azimuths()[0]
    assert found == [pytest.approx(4.0, abs=0.05), pytest.approx(1.0, abs=0.05)]  # the third is too unlikely


def test_codes_start_at_the_mean_of_the_table(encoder: PictureEncoder) -> None:
    torch.nn.init.zeros_(encoder.head.weight)
    torch.nn.init.zeros_(encoder.head.bias)
    seen = encoder(torch.rand(2, 4, 16, 16))
    torch.testing.assert_close(seen.shape_code, encoder.shape_mean.expand(2, -1))
    assert seen.appearance_code.shape == (2, 3)
    assert float(encoder.scale("appearance")) == pytest.approx(10 * math.sqrt(3), rel=0.3)
    with pytest.raises(ValueError, match=r"pictures \[n, 4, 16, 16\], got \[1, 3, 16, 16\]"):
        encoder(torch.rand(1, 3, 16, 16))


def test_files_keep_what_was_learned_in_half_precision(encoder: PictureEncoder, tmp_path: Path) -> None:
    pictures = torch.rand(3, 4, 16, 16)
    before = encoder(pictures)
    encoder.half().save_pretrained(tmp_path)
    loaded = load_picture_encoder(tmp_path)
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(pictures).shape_code, before.shape_code, atol=0.02, rtol=0.01)
    loaded.check_space("of this field")
    with pytest.raises(ValueError, match="its codes mean something else there; train one with"):
        loaded.check_space("of another")


def test_other_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no encoder of pictures; train one with python -m"):
        load_picture_encoder(tmp_path)
    RidgeCodeMapper(4, 5, 3).save_pretrained(tmp_path / "ridge")
    with pytest.raises(ValueError, match="is not a whole encoder of pictures \\(it is of the class RidgeCodeMapper"):
        load_picture_encoder(tmp_path / "ridge")
    PictureEncoder(5, 3, size=16, channels=(8, 8), hidden=16).save_pretrained(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config | {"hidden": 20}), encoding="utf-8")
    with pytest.raises(ValueError, match="is not a whole encoder of pictures"):
        load_picture_encoder(tmp_path / "encoder")
