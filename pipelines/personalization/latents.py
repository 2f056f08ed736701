"""Training pictures as the frozen autoencoder sees them: encoded once, sampled anew at every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mappers.training.draws import Draws

from ..autoencoder import encode
from .subjects import Subject


class LatentPictures:
    """Posteriors of the pictures of all words, and of their mirror images, at one resolution.

    Args:
        vae: the autoencoder.
        subjects: the words, with masks for all or for none.
        outside: weight of the loss outside the masks.
        side: pixels of the pictures' shorter side, to which they are made smaller; None takes them as they are.

    Raises:
        ValueError: a mask leaves nothing.
    """

    def __init__(self, vae: AutoencoderKL, subjects: Sequence[Subject], outside: float, side: int | None = None):
        self.counts = [len(subject.pictures) for subject in subjects]
        pictures = torch.cat([subject.pictures for subject in subjects])
        masks = [subject.inside for subject in subjects if subject.inside is not None]
        inside = torch.cat(masks) if masks else None
        if side is not None:
            factor = 2 ** (len(vae.config.block_out_channels) - 1)
            height, width = pictures.shape[-2:]
            size = [round(length * side / min(height, width) / factor) * factor for length in (height, width)]
            pictures = F.interpolate(pictures, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        self.mean, self.std = _posteriors(vae, pictures)
        """[n, 2, c, h, w]: each picture, then its mirror image."""
        self.inside: Float[Tensor, "n 2 1 h w"] | None = None
        self.weights: Float[Tensor, "n 2 1 h w"] | None = None
        """Weights of the loss; their mean over a picture is 1. None: all the same."""
        if inside is not None:
            share = F.interpolate(inside.to(self.mean.device), size=self.mean.shape[-2:], mode="area")
            self.inside = torch.stack([share, share.flip(-1)], dim=1)
            _check_not_black(share, subjects)
            weights = share + outside * (1 - share)
            weights = weights / weights.mean((1, 2, 3), keepdim=True)
            self.weights = torch.stack([weights, weights.flip(-1)], dim=1)

    def choose(self, draws: Draws, words: Int[Tensor, " b"], flip: float) -> tuple[Tensor, Tensor]:
        """For each sample a picture of its word, as index [b], and whether it is mirrored [b]."""
        each = torch.stack([draws.integers("picture", count) for count in self.counts])
        first = torch.tensor([0, *self.counts[:-1]], device=draws.device).cumsum(0)
        picture = first[words] + each.gather(0, words[None])[0]
        return picture, (draws.uniform("flip") < flip).long()

    def sample(self, chosen: tuple[Tensor, Tensor], draws: Draws) -> Float[Tensor, "b c h w"]:
        """Latents of the chosen pictures, not yet scaled."""
        return self.mean[chosen] + self.std[chosen] * draws.normal("posterior", self.mean.shape[2:])


@torch.no_grad()
def _posteriors(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [n, 2, c, h, w] of each picture and its mirror image."""
    means, deviations = [], []
    for picture in pictures:
        pair = torch.stack([picture, picture.flip(-1)]).to(vae.device)
        posterior = encode(vae, pair)
        means.append(posterior.mean.float())
        deviations.append(posterior.std.float())
    return torch.stack(means), torch.stack(deviations)


def _check_not_black(share: Float[Tensor, "n 1 h w"], subjects: Sequence[Subject]) -> None:
    """Refuse masks that leave nothing, by word and number of the picture.

    Raises:
        ValueError: there is one.
    """
    names = [f"{number + 1} of {subject.token}" for subject in subjects for number in range(len(subject.pictures))]
    black = (share.amax((1, 2, 3)) == 0).tolist()
    if any(black):
        raise ValueError(
            f"the mask of picture {names[black.index(True)]} is black within the centre that is learned; "
            "mark the thing in white"
        )
