"""Drawing over a picture: image to image (SDEdit, arXiv 2108.01073), and within a mask only (inpainting)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from ..autoencoder import encode
from ..images import load_images

Generators = torch.Generator | list[torch.Generator] | None


def timesteps_for_strength(scheduler: Any, steps: int, strength: float) -> Tensor:
    """The last timesteps of a schedule of ``steps``: the share ``strength`` of them.

    Raises:
        ValueError: ``strength`` is out of range, or leaves no step.
    """
    first = (steps - steps_for_strength(steps, strength)) * scheduler.order
    # Repeated timesteps would be looked up wrongly from their value alone.
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return scheduler.timesteps[first:]


def steps_for_strength(steps: int, strength: float) -> int:
    """How many of ``steps`` denoising steps are run: the share ``strength`` of them.

    Raises:
        ValueError: ``strength`` is out of range, or leaves no step.
    """
    kept = int(steps * strength) if 0 < strength <= 1 else 0
    if kept < 1:
        raise ValueError(
            f"strength must be above 0, up to 1, and leave a step of {steps}; got {strength}, which leaves {kept}"
        )
    return kept


class InitialPicture:
    """The picture that a generation starts from, as latents.

    Outside the mask the latents of every step are replaced by the picture's, at that step's noise, as diffusers'
    inpainting does with models that know no masks. The result there is the picture after the autoencoder.

    Args:
        vae: the model's autoencoder.
        image: the picture; its centre is cut to the proportions that are drawn.
        mask: white where new content is drawn, as large as the picture; None: everywhere.
        size: width and height of the generated pictures, pixels.
        count: pictures that are generated.
        generator: randomness of the latents and their noise.
        device: where the autoencoder computes.

    Raises:
        ValueError: picture and mask are of different sizes.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        image: Image.Image,
        mask: Image.Image | None,
        size: tuple[int, int],
        count: int,
        generator: Generators,
        device: torch.device,
    ):
        (image,) = load_images([image])
        pixels = torch.from_numpy(np.array(ImageOps.fit(image, size, Image.Resampling.BICUBIC)))
        pixels = (pixels.permute(2, 0, 1)[None].float() / 127.5 - 1).to(device).expand(count, -1, -1, -1)
        posterior = encode(vae, pixels)
        if isinstance(generator, list):
            draw = [randn_tensor(posterior.mean[:1].shape, g, device, posterior.mean.dtype) for g in generator]
            latents = posterior.mean + posterior.std * torch.cat(draw)
        else:
            latents = posterior.sample(generator)
        self.latents = (latents * vae.config.scaling_factor).to(vae.dtype)
        self.noise = randn_tensor(latents.shape, generator, device, vae.dtype)
        self.mask: Tensor | None = None
        if mask is not None:
            if mask.size != image.size:
                found, wanted = (f"{w}x{h}" for w, h in (mask.size, image.size))
                raise ValueError(f"mask has {found} pixels, the picture {wanted}; make them the same size")
            white = np.array(ImageOps.fit(mask.convert("L"), size, Image.Resampling.NEAREST)) >= 128
            self.mask = F.interpolate(torch.from_numpy(white)[None, None].to(device, vae.dtype), latents.shape[-2:])

    def start(self, scheduler: Any, first: Tensor, *, whole: bool) -> Tensor:
        """Initial latents at timestep ``first``: the noisy picture, or noise for the ``whole`` schedule with a mask."""
        if whole and self.mask is not None:
            return self.noise * scheduler.init_noise_sigma
        return self.at(scheduler, first)

    def at(self, scheduler: Any, timestep: Tensor | None) -> Tensor:
        """The picture with the noise of ``timestep``; None: without."""
        if timestep is None:
            return self.latents
        return scheduler.add_noise(self.latents, self.noise, timestep[None])

    def restore_outside(self, latents: Tensor, scheduler: Any, following: Tensor | None) -> Tensor:
        """``latents`` inside the mask, the picture at the ``following`` timestep outside."""
        if self.mask is None:
            return latents
        return (1 - self.mask) * self.at(scheduler, following) + self.mask * latents
