"""Pictures and videos as tensors of bytes, and the times of their frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from mappers.pictures import (
    MOVING_ENDINGS,
    PICTURE_ENDINGS,
    PictureError,
    depth_losses,
    file_losses,
    opened,
    to_rgb,
)

from . import is_video

logger = logging.getLogger(__name__)

FPS = 24
"""Frames per second of a folder of frames."""
LEAST = 2
"""Fewest pixels along a side."""


class MediaError(ValueError):
    """A picture or video cannot be fitted; the message names the file and the remedy."""


@dataclass(frozen=True, eq=False)
class FrameSequence:
    """The frames of a video, or the one frame of a picture."""

    name: str
    frames: UInt8[Tensor, "n h w 3"]
    times: tuple[float, ...]
    """Time of every frame in seconds, increasing."""
    video: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def fps(self) -> int:
        """Frames per second, rounded, at least 1; of a picture 1."""
        span = self.times[-1] - self.times[0]
        return max(round((len(self.times) - 1) / span), 1) if span > 0 else 1


def read_media(path: str | Path) -> FrameSequence:
    """A picture file, a video file, or a folder of pictures that are the frames of one in order of their names.

    Transparent pixels are composited on white.

    Raises:
        FileNotFoundError: there is no such file or folder.
        MediaError: it is empty or damaged, a video has one frame only, or frames differ in size or are out of order.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no picture or video {path}")
    if path.is_file() and not path.stat().st_size:
        raise MediaError(f"{path} is empty; copy it again")
    if not is_video(path):
        if path.suffix.lower() not in PICTURE_ENDINGS:
            pictures, videos = (", ".join(endings) for endings in (PICTURE_ENDINGS, MOVING_ENDINGS))
            raise MediaError(f"{path} is neither a picture ({pictures}) nor a video ({videos}); convert it")
        return FrameSequence(path.name, _stacked(path, [_picture(path)]), (0.0,), video=False)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_ENDINGS)
        frames, times = [_picture(file) for file in files], [number / FPS for number in range(len(files))]
    else:
        frames, times = _decoded(path)
    if len(frames) < 2:
        raise MediaError(f"{path} has {len(frames)} frame; a video field needs at least two, fit one as a picture")
    check_times(times, str(path))
    return FrameSequence(path.name, _stacked(path, frames), tuple(times), video=True)


def check_times(times: Sequence[float], where: str) -> None:
    """Refuse time stamps that do not increase.

    Raises:
        MediaError: naming the first frame that is out of order, or repeats a time.
    """
    for number in range(1, len(times)):
        if not times[number] > times[number - 1]:
            how = "repeats the time of" if times[number] == times[number - 1] else "lies before"
            raise MediaError(f"{where}: frame {number} {how} frame {number - 1}; give the video rising time stamps")


def _picture(path: Path) -> np.ndarray:
    try:
        with opened(path) as image:
            for loss in file_losses(image) + depth_losses(image):
                logger.warning("%s", loss)
            return np.array(to_rgb(image))
    except PictureError as error:
        raise MediaError(str(error)) from error


def _decoded(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Frames of a video file and their times in seconds."""
    frames, times = [], []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path} has no pictures in it; give a video")
            base = container.streams.video[0].time_base or Fraction(1, FPS)
            for frame in container.decode(container.streams.video[0]):
                if frame.pts is None:
                    raise MediaError(f"{path}: frame {len(frames)} has no time stamp; convert the video again")
                frames.append(frame.to_ndarray(format="rgb24"))
                times.append(float(frame.pts * base))
    except av.FFmpegError as error:
        raise MediaError(f"{path} cannot be read as a video ({error.strerror}); copy or convert it again") from error
    return frames, times


def _stacked(path: Path, frames: Sequence[np.ndarray]) -> UInt8[Tensor, "n h w 3"]:
    for number, frame in enumerate(frames):
        if frame.shape != frames[0].shape:
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (frame, frames[0])]
            raise MediaError(
                f"{path}: frame {number} has {sizes[0]} pixels but the first {sizes[1]}; make them one size"
            )
    if min(frames[0].shape[:2]) < LEAST:
        raise MediaError(f"{path} is {frames[0].shape[1]}x{frames[0].shape[0]}; a field needs 2 pixels along each side")
    return torch.from_numpy(np.stack(frames))
