"""The scorer: CLIP's own preprocessing, distances, and texts outside the domain of a family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from mappers.hub import resolve
from nerf.conditional.clip.scorer import PromptDomain, Scorer, clip_distance
from nerf.conditional.families import FAMILIES


def test_pictures_reach_the_model_as_its_own_processor_makes_them(tiny_clip: Scorer) -> None:
    """Of the model's size to rounding; of another as near as two implementations of bicubic resizing are."""
    processor = AutoImageProcessor.from_pretrained(resolve("nano-clip", "CLIP"))
    steps = np.linspace(0, 255, 128).astype(np.uint8)
    smooth = np.stack(np.broadcast_arrays(steps[:, None], steps[None], 255 - steps[:, None]), -1)
    for size, tolerance in ((64, 1e-5), (128, 0.02)):
        image = Image.fromarray(smooth).resize((size, size))
        expected = processor([image], return_tensors="pt").pixel_values
        found = tiny_clip.preprocess(torch.from_numpy(np.asarray(image) / 255).float()[None])
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
        assert torch.allclose(
            tiny_clip.embed_pil([image]), tiny_clip.embed_images(torch.tensor(np.asarray(image) / 255)[None].float())
        )


def test_embeddings_have_unit_length_and_pictures_gradients(tiny_clip: Scorer) -> None:
    pictures = torch.rand(2, 20, 20, 3, requires_grad=True)
    found = tiny_clip.embed_images(pictures)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(tiny_clip.embed_texts(["a", "a red chair"]).norm(dim=-1), torch.ones(2))
    assert torch.autograd.grad(found.sum(), pictures)[0].abs().sum() > 0


def test_distance_depends_on_directions_only() -> None:
    a = torch.randn(50, 8)
    torch.testing.assert_close(clip_distance(a, 3 * a), torch.zeros(50), atol=1e-6, rtol=0)
    torch.testing.assert_close(clip_distance(a, -a), torch.full((50,), 2.0))
    assert bool((clip_distance(a, torch.randn(50, 8)) <= 2).all())


def test_texts_about_other_things_are_below_the_limit() -> None:
    familiar = PromptDomain(Scorer.load(), FAMILIES["chairs"])
    scores = {text: familiar.score(text) for text in ("a tall red chair", "a cat", "asdf")}
    assert scores["a tall red chair"] > familiar.limit > max(scores["a cat"], scores["asdf"])


def test_a_folder_without_a_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="could not load the CLIP .*; give a folder in transformers' layout"):
        Scorer.load(tmp_path)
