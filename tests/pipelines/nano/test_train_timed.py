"""The denoiser is trained for a given time, and its weights come in small files that load again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from pipelines.nano.recipes.vae import build_vae
from pipelines.nano.train_timed import Arguments, main


def test_weights_in_pieces_after_a_given_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    build_vae().save_pretrained(tmp_path / "model" / "vae")
    arguments = Arguments(
        output=tmp_path / "out", minutes=0.05, batch_size=2, text_to_image=tmp_path / "model", workers=0
    )
    log = main(arguments)
    assert json.loads((tmp_path / "out" / "log.json").read_text()) == log
    assert log["pictures"] == 2 * log["steps"] >= 4
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) <= 15 * 2**20
    assert sum(path.name.endswith(".safetensors") for path in files) >= 3
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "out" / "unet")
    assert unet.config.in_channels == 8
    with pytest.raises(FileExistsError, match="has files in it; choose a new or empty folder"):
        main(arguments)
