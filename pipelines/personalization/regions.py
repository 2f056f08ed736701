"""Parts of the picture that words are confined to while it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..images import load_images
from .text_encoding import TextEncoders


class Regions:
    """Where in the picture words act.

    A cell's attention to a word is multiplied by the share of the cell that the word's mask covers, before attention
    is normalized: 1 changes nothing, and with 0 the word is not there. Rows without the word are left alone.

    Args:
        positions: for each word, where it stands in each row's prompt.
        masks: for each word, its mask at the picture's size, in 0..1.
    """

    def __init__(self, positions: Sequence[Bool[Tensor, "b s"]], masks: Sequence[Float[Tensor, "h w"]]):
        self.positions, self.masks = list(positions), list(masks)
        self._bias: dict[int, Tensor] = {}

    def bias(self, query: Float[Tensor, "b n q c"]) -> Float[Tensor, "b 1 q s"]:
        """What a layer adds to its attention scores, before the softmax; kept, for all steps need the same."""
        cells = query.shape[2]
        if cells not in self._bias:
            height, width = self.masks[0].shape
            factor = round((height * width / cells) ** 0.5)
            size = height // factor, width // factor
            total = torch.zeros((), device=query.device)
            for position, mask in zip(self.positions, self.masks, strict=True):
                share = F.interpolate(mask[None, None], size=size, mode="area").flatten()
                # Where, and not a product: zero times the logarithm of zero is no number.
                total = total + torch.where(position[:, None, None, :], share.log()[None, None, :, None], 0.0)
            self._bias[cells] = total.to(query.dtype)
        return self._bias[cells]


def read_regions(
    regions: Mapping[str, Image.Image],
    text: TextEncoders,
    prompts: Sequence[str],
    words: Sequence[str],
    size: tuple[int, int],
    rows: Int[Tensor, " b"],
) -> Regions:
    """Masks of words, white where they act.

    Args:
        regions: for each word its mask, as large as the picture that is drawn.
        text: the model's text encoders.
        prompts: all prompts, those to move away from included.
        words: all loaded words.
        size: width and height of the picture.
        rows: the prompt of each row of the batch.

    Raises:
        ValueError: a word is not loaded or in no prompt; a mask is of another size or all black.
    """
    tokenized = text.tokenize(prompts, list(words))
    positions, masks = [], []
    for word, picture in regions.items():
        if word not in words:
            raise ValueError(f"regions name {word!r}, which is not loaded; loaded are {sorted(words)}")
        if not any(word in part.positions for part in tokenized):
            raise ValueError(f"regions name {word!r}, which is in no prompt; write it there, or leave its region out")
        (mask,) = load_images([picture])
        if mask.size != size:
            found, wanted = (f"{w}x{h}" for w, h in (mask.size, size))
            raise ValueError(
                f"the region of {word} has {found} pixels, the picture that is drawn {wanted}; make them the same size"
            )
        white = torch.from_numpy(np.array(mask.convert("L"))).float() / 255
        if not white.any():
            raise ValueError(f"the region of {word} is black, so the word would act nowhere; mark its place in white")
        nowhere = torch.zeros_like(tokenized[0].ids, dtype=torch.bool)
        positions.append(
            torch.stack([part.positions.get(word, nowhere) for part in tokenized]).any(0).to(text.device)[rows]
        )
        masks.append(white.to(text.device))
    return Regions(positions, masks)
