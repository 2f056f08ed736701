"""The command that trains the nano models writes what their libraries load again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

from mappers.hub import resolve
from pipelines.nano import train
from pipelines.nano.train import build_task, shared_tokenizer


@pytest.mark.parametrize("part", ["clip", "diffusion"])
def test_export_writes_what_loads_again(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build_task(part, shipped=True)
    shipped = {path.name for path in Path(resolve("nano-clip", "CLIP")).iterdir()} - {"LICENSE", "README.md"}
    tokenizer = shared_tokenizer()
    monkeypatch.setattr(train, "shared_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(train, "CLIP", tmp_path / "clip")
    train.export(task, tmp_path / "t2i")
    if part == "clip":
        assert {path.name for path in (tmp_path / "clip").iterdir()} == shipped
        assert CLIPModel.from_pretrained(tmp_path / "clip").dtype == torch.float32
        written = json.loads((tmp_path / "clip" / "tokenizer_config.json").read_text())
        assert written == json.loads(Path(resolve("nano-clip", "CLIP"), "tokenizer_config.json").read_text())
        return
    assert (tmp_path / "t2i" / "model_index.json").is_file()
    for name in ("unet", "text_encoder"):
        config = json.loads((tmp_path / "t2i" / name / "config.json").read_text())
        assert "_name_or_path" not in config
    assert (tmp_path / "t2i" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == Path(
        resolve("nano", "text-to-image"), "unet", "diffusion_pytorch_model.safetensors"
    ).read_bytes()
