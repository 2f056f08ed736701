"""Timing of a video's sound: embeddings along it, overlapping tiles of latents, and onsets.

V2A-Mapper (arXiv 2308.09300) has one embedding for a whole video; all of this goes beyond the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from .conditioning import aggregate, slerp

ONSET_FLOOR = 0.05
"""Share of the magnitude that remains long after an onset, at strength 1."""
DECAY_SECONDS = 0.35
"""Seconds in which the magnitude falls to 1/e after an onset."""


def window_embeds(
    embeds: Float[Tensor, "n c"], times: Sequence[float], seconds: float, window: float
) -> Float[Tensor, "w c"]:
    """One embedding for each window: the aggregate of the frames in it, or the nearest frame where there is none.

    Args:
        embeds: CLIP embeddings of frames, unit vectors.
        times: of the frames, in seconds from the start, ascending.
        seconds: length of the sound; later frames are ignored, and the last one is repeated if the video is shorter.
        window: approximate seconds of a window; a whole number of equal windows fills the sound.

    Raises:
        ValueError: ``window`` is not positive.
    """
    if not window > 0:
        raise ValueError(f"window must be a positive number of seconds, got {window}")
    count = max(round(seconds / window), 1)
    place = np.asarray(times) / seconds * count
    rows = []
    for number in range(count):
        inside = np.flatnonzero(place.astype(int) == number)
        chosen = inside if len(inside) else np.array([np.abs(place - number - 0.5).argmin()])
        rows.append(aggregate(embeds[torch.from_numpy(chosen)]))
    return torch.cat(rows)


def embeds_at(embeds: Float[Tensor, "n w a"], place: float) -> Float[Tensor, "n a"]:
    """Embeddings at ``place`` (0..1) along the sound, by slerp between the middles of neighbouring windows."""
    count = embeds.shape[1]
    at = min(max(place * count - 0.5, 0.0), count - 1.0)
    first = min(int(at), count - 1)
    second = min(first + 1, count - 1)
    return slerp(embeds[:, first], embeds[:, second], at - first)


def tile_bounds(height: int, longest: int) -> list[tuple[int, int]]:
    """(start, end) of tiles of at most ``longest`` rows that cover ``height`` rows; neighbours overlap by half."""
    if height <= longest:
        return [(0, height)]
    count = math.ceil(2 * height / longest) - 1
    starts = [round(number * (height - longest) / (count - 1)) for number in range(count)] if count > 1 else [0]
    return [(start, start + longest) for start in starts]


def predict_tiles(
    predict: Callable[[Float[Tensor, "n z t b"], Float[Tensor, "n a"]], Float[Tensor, "n z t b"]],
    latents: Float[Tensor, "n z h b"],
    embeds: Float[Tensor, "n w a"],
    longest: int,
) -> Float[Tensor, "n z h b"]:
    """A denoiser's prediction for latents longer than it was trained on: overlapping tiles, cross-faded.

    Predictions are blended at every step, as MultiDiffusion (arXiv 2302.08113) does in space. Blending finished latents
    instead would let two sounds be heard at once in the overlaps.

    Args:
        predict: (latents of a tile, its embeddings) -> prediction for the tile.
        latents: noisy latents; time runs along the height.
        embeds: of w windows along each sound, see `embeds_at`.
        longest: rows of a tile.
    """
    height = latents.shape[2]
    total, weights = torch.zeros_like(latents), torch.zeros(height, 1, dtype=latents.dtype, device=latents.device)
    for start, end in tile_bounds(height, longest):
        rows = torch.arange(end - start, device=latents.device)
        weight = torch.minimum(rows + 1, end - start - rows).to(latents.dtype)[:, None]
        found = predict(latents[:, :, start:end], embeds_at(embeds, (start + end) / 2 / height))
        total[:, :, start:end] += weight * found
        weights[start:end] += weight
    return total / weights


def frame_motion(pictures: Sequence[Image.Image]) -> Float[np.ndarray, " n"]:
    """Mean absolute change of each frame from the one before, 0..1, in gray pictures of 32x32 pixels."""
    small = np.stack([np.asarray(picture.convert("L").resize((32, 32)), dtype=np.float32) for picture in pictures])
    return np.concatenate([[0.0], np.abs(np.diff(small, axis=0)).mean((1, 2)) / 255])


def find_onsets(motion: Float[np.ndarray, " n"], times: Sequence[float]) -> list[float]:
    """Seconds at which something starts to move: local maxima of ``motion`` well above its median."""
    if len(motion) < 3:
        return []
    floor = np.median(motion) + 2 * np.abs(motion - np.median(motion)).mean()
    before, after = np.concatenate([[-1], motion[:-1]]), np.concatenate([motion[1:], [-1]])
    peaks = (motion > max(floor, 0.01)) & (motion >= before) & (motion > after)
    return [times[number] for number in np.flatnonzero(peaks)]


def onset_gain(onsets: Sequence[float], frames: int, frame_seconds: float, strength: float) -> Float[Tensor, " frames"]:
    """A gain to add to log-mel frames, so that the sound starts at each onset and decays until the next.

    Args:
        onsets: in seconds.
        frames: number of frames of the spectrogram.
        frame_seconds: seconds from frame to frame.
        strength: 0 changes nothing; 1 lets the magnitude decay to `ONSET_FLOOR` between onsets.

    Raises:
        ValueError: ``strength`` is out of range.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"onset_strength must be in 0..1, got {strength}")
    if not onsets:
        return torch.zeros(frames)
    times = torch.arange(frames) * frame_seconds
    past = times[:, None] - torch.tensor(list(onsets))
    since = past.masked_fill(past < -frame_seconds / 2, float("inf")).clamp(min=0).amin(1)
    return strength * (-since / DECAY_SECONDS).exp().clamp(min=ONSET_FLOOR).log()
