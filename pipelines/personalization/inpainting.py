"""Drawing over a picture, and within a mask only: what diffusers' pipelines are handed."""

from __future__ import annotations

from PIL import Image, ImageOps

from ..images import load_images


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


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The centre of a picture, cut to the proportions of ``size`` (width and height) and made as large."""
    (image,) = load_images([image])
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def fitted_mask(mask: Image.Image, image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The mask of ``image``, cut as `fitted` cuts the picture; white where new content is drawn.

    Raises:
        ValueError: picture and mask are of different sizes.
    """
    if mask.size != image.size:
        found, wanted = (f"{w}x{h}" for w, h in (mask.size, image.size))
        raise ValueError(f"mask has {found} pixels, the picture {wanted}; make them the same size")
    return ImageOps.fit(mask.convert("L"), size, Image.Resampling.NEAREST)
