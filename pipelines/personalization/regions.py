"""Parts of the picture that words are confined to during generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..images import load_images
from .prompt_batch import PromptBatch
from .text_encoding import TextEncoders


class Regions:
    """Where in the picture words act.

    A cell's attention to a word is multiplied by the share of the cell that the word's mask covers, before attention
    is normalized: 1 changes nothing, and with 0 the cell ignores the word. Rows without the word are unchanged.

    Args:
        positions: for each word, its positions in each row's prompt.
        masks: for each word, its mask at the picture's size, in 0..1.
    """

    def __init__(self, positions: Sequence[Bool[Tensor, "b s"]], masks: Sequence[Float[Tensor, "h w"]]):
        self.positions, self.masks = list(positions), list(masks)
        self._bias: dict[int, Tensor] = {}

    def bias(self, query: Float[Tensor, "b n q c"]) -> Float[Tensor, "b 1 q s"]:
        """What a layer adds to its attention scores, before the softmax; cached, because all steps need the same."""
        cells = query.shape[2]
        if cells not in self._bias:
            size = self.masks[0].shape
            while size[0] * size[1] > cells:  # as the autoencoder and the UNet halve it
                size = -(-size[0] // 2), -(-size[1] // 2)
            total = torch.zeros((), device=query.device)
            for position, mask in zip(self.positions, self.masks, strict=True):
                share = F.interpolate(mask[None, None], size=size, mode="area").flatten()
                # `where`, not a product: zero times the logarithm of zero is not a number.
                total = total + torch.where(position[:, None, None, :], share.log()[None, None, :, None], 0.0)
            self._bias[cells] = total.to(query.dtype)
        return self._bias[cells]


def read_regions(
    regions: Mapping[str, Image.Image] | None,
    text: TextEncoders,
    batch: PromptBatch,
    words: Sequence[str],
    size: tuple[int, int],
) -> Regions | None:
    """Masks of words, white where the words act.

    Args:
        regions: for each word its mask, as large as the picture that is drawn; None or empty: no word is confined.
        text: the model's text encoders.
        batch: the call's prompts and the rows that follow them.
        words: all loaded words.
        size: width and height of the picture.

    Raises:
        ValueError: a word is not loaded or in no prompt; a mask is of another size or all black.
    """
    if not regions:
        return None
    tokenized = text.tokenize([prompt or "" for prompt in batch.texts], words)
    positions, masks = [], []
    for word, picture in regions.items():
        if word not in words:
            raise ValueError(f"regions name {word!r}, which is not loaded; loaded are {sorted(words)}")
        if not any(word in part.positions for part in tokenized):
            raise ValueError(f"regions name {word!r}, which is in no prompt; write it there, or leave its region out")
        nowhere = torch.zeros_like(tokenized[0].ids, dtype=torch.bool)
        anywhere = torch.stack([part.positions.get(word, nowhere) for part in tokenized]).any(0)
        positions.append(anywhere.to(text.device)[batch.rows])
        masks.append(read_mask(word, picture, size).to(text.device))
    return Regions(positions, masks)


def read_mask(word: str, picture: Image.Image, size: tuple[int, int] | None = None) -> Float[Tensor, "h w"]:
    """A region as numbers in 0..1, 1 where the word acts.

    Raises:
        ValueError: it is all black, or not of ``size`` (width and height), if that is known.
    """
    (mask,) = load_images([picture])
    if size is not None:
        check_size(word, mask.size, size)
    white = torch.from_numpy(np.array(mask.convert("L"))).float() / 255
    if not white.any():
        raise ValueError(f"the region of {word} is black, so the word would act nowhere; mark its place in white")
    return white


def check_size(word: str, size: tuple[int, int], picture: tuple[int, int]) -> None:
    """Refuse a region that is not as large as the picture; both are width and height.

    Raises:
        ValueError: it is not.
    """
    if size != picture:
        found, wanted = (f"{w}x{h}" for w, h in (size, picture))
        raise ValueError(
            f"the region of {word} has {found} pixels, the picture that is drawn {wanted}; make them the same size"
        )
