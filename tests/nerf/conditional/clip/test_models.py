"""CLIP models in open_clip's layout give the embeddings of open_clip itself."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
from PIL import Image

from mappers.hub import resolve
from nerf.conditional.clip.scorer import Scorer


def test_a_model_of_open_clip_embeds_as_open_clip_does() -> None:
    folder = resolve("nano-clip-families", "OpenCLIP")
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    scorer, model = Scorer.load(folder), model.eval()
    image = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
    texts = ["a tall red chair", "a car"]
    with torch.no_grad():
        seen = model.encode_image(prepare(image)[None], normalize=True)
        said = model.encode_text(tokenizer(texts), normalize=True)
    torch.testing.assert_close(scorer.embed_pil([image]), seen, atol=1e-5, rtol=0)
    torch.testing.assert_close(scorer.embed_texts(texts), said, atol=1e-5, rtol=0)
    assert scorer.width == 128
