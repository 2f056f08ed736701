"""The command that trains the nano audio models writes what their libraries load again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import ClapModel, ClapProcessor

from pipelines.audio.clap import Clap
from pipelines.audio.pipeline import VisionToAudioPipeline
from pipelines.nano import train_audio
from pipelines.nano.recipes.clap import embed_clips
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips


def test_export_writes_what_loads_again(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    tasks = {part: build_task(part, clips, clips) for part in train_audio.RECIPES}
    monkeypatch.setattr(train_audio, "VISION_TO_AUDIO", tmp_path / "v2a")
    monkeypatch.setattr(train_audio, "CLAP", tmp_path / "clap")
    for task in tasks.values():
        train_audio.export(task)
    train_audio.write_index(tmp_path / "v2a")
    pipeline = VisionToAudioPipeline.from_pretrained(tmp_path / "v2a")
    assert {part.dtype for part in pipeline.components.values() if isinstance(part, torch.nn.Module)} == {torch.float32}
    shipped = {
        p.relative_to(train_audio.HERE / "vision_to_audio")
        for p in Path(train_audio.HERE / "vision_to_audio").rglob("*")
    }
    written = {p.relative_to(tmp_path / "v2a") for p in (tmp_path / "v2a").rglob("*")}
    assert written == shipped - {Path("LICENSE"), Path("README.md")}
    clap, processor = ClapModel.from_pretrained(tmp_path / "clap"), ClapProcessor.from_pretrained(tmp_path / "clap")
    assert clap.dtype == torch.float32
    inputs = processor(text=["a bell"], audio=clips.waves(0).numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        output = clap.eval()(**inputs)
    torch.testing.assert_close(output.audio_embeds, embed_clips(Clap.from_folder(tmp_path / "clap"), clips)[:1])
    torch.testing.assert_close(output.text_embeds, pipeline.encode_prompt(["a bell"]), atol=1e-5, rtol=1e-4)
    for path in tmp_path.rglob("*config.json"):
        text = path.read_text(encoding="utf-8")
        assert "_name_or_path" not in json.loads(text), path
        assert str(tmp_path) not in text
