"""nano-clip as it ships: its content hash, and captions that it prefers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from transformers import CLIPModel

from mappers.hub import resolve
from pipelines.nano import world
from pipelines.nano.recipes.clip import tokens_of
from pipelines.nano.recipes.vae import pictures_of
from pipelines.nano.train import shared_tokenizer


def test_the_content_hash_of_nano_clip_is_on_its_card() -> None:
    folder = Path(resolve("nano-clip", "CLIP"))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text(encoding="utf-8")


def test_nano_clip_prefers_the_caption_of_the_picture() -> None:
    """Surroundings and tints that its pictures have against ones that they do not."""
    clip = CLIPModel.from_pretrained(resolve("nano-clip", "CLIP")).eval()
    tokenizer = shared_tokenizer()
    scenes = world.scenes_of(world.SUBSET[:32], seed=8, style=None, count=1)
    captions = [f"a photo of {world.subject(s.object, s.tint)} {world.where(s.place, s.color)}" for s in scenes]
    with torch.no_grad():
        logits = clip(input_ids=tokens_of(tokenizer, captions), pixel_values=pictures_of(scenes)).logits_per_image
    assert (logits.argmax(1) == torch.arange(32)).float().mean() > 0.6
