"""A whole file to samples: all of it, a leading share of its indices, a region, or what is intact of a damaged file."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt

from . import payload
from .container import chunks
from .container.bitstream import GREY, STEREO, Container, Item, checksum
from .container.errors import HeaderError, OtherSamplesError, PayloadError, WrongModelError
from .decoder import decode_latents, needed_rows, synthesize, to_samples
from .description import Box, whole
from .grids.model import GridsModel
from .grids.reconstruction import decode_items, grey
from .modalities.registry import MODALITY_CODECS
from .model.codec import CodecModel
from .models import AnyModel

logger = logging.getLogger(__name__)


def decode(
    container: Container,
    model: AnyModel,
    *,
    fast: bool = False,
    share: float = 1.0,
    region: Sequence[int] | None = None,
    salvage: bool = False,
    checked: bool = True,
) -> list[UInt[np.ndarray, "channels ..."]]:
    """Samples of every item of a file.

    Args:
        fast, share, region, salvage: as for :func:`nerf.compression.decompress`.
        checked: compare the checksum of the samples with the file's, if all samples are decoded in double precision.

    Raises:
        WrongModelError, HeaderError, PayloadError: the file does not fit the model, or its indices are damaged.
        OtherSamplesError: the samples differ from those that the file was written for.
    """
    if container.model != model.id:
        raise WrongModelError(
            f"the file was written with model {container.model.hex()}, not with {model.id.hex()}; give that model"
        )
    if isinstance(model, GridsModel):
        boxes = None if region is None else [boxes_of(item, region)[0] for item in container.items]
        decoded = decode_items(container, model, boxes, share=share, salvage=salvage, fast=fast)
    else:
        decoded = _decoded(container, model, fast, share, region, salvage)
    complete = not (fast or salvage) and share == 1 and region is None
    if checked and complete and checksum(decoded) != container.samples:
        raise OtherSamplesError(
            "the decoded samples differ from those that the file was written for: this machine computes differently, or"
            " the file was changed; decode it with salvage to get them nevertheless"
        )
    return decoded


def _decoded(
    container: Container,
    model: CodecModel,
    fast: bool,
    share: float,
    region: Sequence[int] | None,
    salvage: bool,
) -> list[UInt[np.ndarray, "channels ..."]]:
    """Samples of a file of indices."""
    description, codec = model.description, MODALITY_CODECS[container.modality]
    checks = {
        "rate": (container.rate, range(len(model.rates))),
        "candidate bits": (container.candidate_bits, [description.candidate_bits]),
        "modality": (container.modality, [description.modality]),
    }
    for name, (found, possible) in checks.items():
        if found not in possible:
            raise HeaderError(f"damaged header: the model has no {name} {found}; get an undamaged copy")
    decoded = []
    for number, item in enumerate(container.items):
        order, indices, intact = payload.read(model, container, item)
        if not intact:
            if not salvage:
                raise PayloadError(
                    f"damaged content: the indices of item {number} do not end where the item ends; get an undamaged"
                    " copy, or decode what is intact with salvage"
                )
            have = sum(index != chunks.MISSING for index in indices)
            logger.warning("item %d is damaged: %d of at most %d indices can be used", number, have, order.count)
        indices = indices[: math.ceil(share * len(indices))]
        parts = []
        for box in boxes_of(item, region):
            needed = None if region is None else needed_rows(model, order.tiling, box)
            levels = decode_latents(model, order, indices, needed)
            parts.append(to_samples(synthesize(model, order.tiling, levels, box=box, fast=fast), codec.steps))
        samples = np.concatenate(parts, -1)
        decoded.append(grey(samples) if item.flags & GREY else samples)
    return decoded


def boxes_of(item: Item, region: Sequence[int] | None) -> list[Box]:
    """The boxes to decode of an item: one, or two for a region of a stereo sound, in its middle and in its side.

    Raises:
        ValueError: the region does not have two numbers for each axis, is empty, or lies outside.
    """
    if region is None:
        return [whole(item.dims)]
    axes, halves = len(item.dims), 2 if item.flags & STEREO else 1
    shape = (item.dims[0] // halves,) if halves == 2 else item.dims
    if len(region) != 2 * axes:
        raise ValueError(f"region must be {axes} offsets and {axes} sizes, the last axis first, got {list(region)}")
    box = tuple((at, at + size) for at, size in zip(region[:axes], region[axes:], strict=True))[::-1]
    if any(not 0 <= first < last <= size for (first, last), size in zip(box, shape, strict=True)):
        raise ValueError(
            f"region {list(region)} is empty or lies outside the item's {'x'.join(map(str, shape[::-1]))} points"
        )
    if halves == 1:
        return [box]
    ((first, last),), (length,) = box, shape
    return [((first, last),), ((first + length, last + length),)]
