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

from mappers.files import files_in
from mappers.pictures import (
    MOVING_ENDINGS,
    PHONE_ENDINGS,
    PICTURE_ENDINGS,
    PictureError,
    depth_losses,
    file_losses,
    opened,
    to_rgb,
)
from mappers.videos import tracks, upright

from . import is_video

logger = logging.getLogger(__name__)

FPS = 24
"""Frames per second of a folder of frames."""
LEAST = 2
"""Fewest pixels along a side."""
MOST = 1 << 27
"""Most points (pixels of all frames) that are read: 134 million, or 145 frames of 1280x720."""


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


def read_media(path: str | Path, *, most: int = MOST) -> FrameSequence:
    """A picture file, a video file, or a folder of pictures that are the frames of one in order of their names.

    Transparent pixels are composited on white, and frames are turned as the file says. What is lost is logged.

    Args:
        path: the file or folder.
        most: largest number of points, which are the pixels of all frames. A file with more is not decoded.

    Raises:
        FileNotFoundError: there is no such file or folder.
        MediaError: it is empty or damaged, has too many points, a video has one frame only, or frames differ in size or
            are out of order.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no picture or video {path}")
    if path.is_file() and not path.stat().st_size:
        raise MediaError(f"{path} is empty; copy it again")
    if not is_video(path):
        if path.suffix.lower() in PHONE_ENDINGS:
            raise MediaError(f"{path} is a HEIC photo, which cannot be read; convert it to JPEG or PNG")
        if path.suffix.lower() not in PICTURE_ENDINGS:
            pictures, videos = (", ".join(endings) for endings in (PICTURE_ENDINGS, MOVING_ENDINGS))
            raise MediaError(f"{path} is neither a picture ({pictures}) nor a video ({videos}); convert it")
        return FrameSequence(path.name, _stacked(path, [_picture(path, most)]), (0.0,), video=False)
    if path.is_dir():
        files = files_in(path, PICTURE_ENDINGS)
        frames = [_picture(file, most // max(len(files), 1)) for file in files]
        times = [number / FPS for number in range(len(files))]
    else:
        frames, times = _decoded(path, most)
    if len(frames) < 2:
        raise MediaError(f"{path} has {len(frames)} frame; a video needs at least two, save one as a picture")
    check_times(times, str(path))
    media = FrameSequence(path.name, _stacked(path, frames), tuple(times), video=True)
    for change in _changes_of_time(path, media):
        logger.warning("%s", change)
    return media


def _changes_of_time(path: Path, media: FrameSequence) -> list[str]:
    """How the times of frames change where they are shown evenly, with a whole number of frames per second."""
    times = np.array(media.times) - media.times[0]
    step = times[-1] / (len(times) - 1)
    even = np.arange(len(times)) * step
    if np.abs(times - even).max() > 0.5 * step:
        gaps = np.diff(times)
        return [
            f"the frames of {path} are {gaps.min():.3g} to {gaps.max():.3g} s apart, and a film of them shows them"
            f" evenly, {media.fps} per second"
        ]
    if abs(media.fps * step - 1) > 0.01:
        return [
            f"{path} has {1 / step:.3g} frames per second, and a film of them shows {media.fps}: it lasts"
            f" {len(times) / media.fps:.3g} s instead of {len(times) * step:.3g} s"
        ]
    return []


def _check_points(path: Path, frames: int, width: int, height: int, most: int) -> None:
    """Refuse media that are too large to hold.

    Raises:
        MediaError: they have more than ``most`` points.
    """
    if frames * width * height > most:
        raise MediaError(
            f"{path} has {frames} frames of {width}x{height}, {frames * width * height:,} points, of which {most:,} can"
            f" be used; make it smaller, or take at most {most // (width * height)} of its frames"
        )


def check_times(times: Sequence[float], where: str) -> None:
    """Refuse time stamps that do not increase.

    Raises:
        MediaError: naming the first frame that is out of order, or repeats a time.
    """
    for number in range(1, len(times)):
        if not times[number] > times[number - 1]:
            how = "repeats the time of" if times[number] == times[number - 1] else "lies before"
            raise MediaError(f"{where}: frame {number} {how} frame {number - 1}; give the video rising time stamps")


def _picture(path: Path, most: int) -> np.ndarray:
    try:
        with opened(path) as image:
            if image.width * image.height > most:
                raise MediaError(f"{path} is {image.width}x{image.height}, more than {most:,} points; make it smaller")
            for loss in file_losses(image) + depth_losses(image):
                logger.warning("%s", loss)
            return np.array(to_rgb(image))
    except PictureError as error:
        raise MediaError(str(error)) from error


def expected_frames(container: av.container.InputContainer) -> int:
    """Number of frames of a film as its header says, or as length and rate suggest; 0 if neither is known."""
    stream = container.streams.video[0]
    return stream.frames or int((container.duration or 0) / av.time_base * float(stream.average_rate or 0))


def _decoded(path: Path, most: int) -> tuple[list[np.ndarray], list[float]]:
    """Frames of a video file and their times in seconds.

    Raises:
        MediaError: it cannot be read, or has more than ``most`` points; where its header says so, nothing is decoded.
    """
    frames, times = [], []
    try:
        with av.open(str(path)) as container:
            if not (films := tracks(container, "video")):
                raise MediaError(f"{path} has no pictures in it that can be read; give a whole video")
            stream = films[0]
            base = stream.time_base or Fraction(1, FPS)
            _check_points(path, expected_frames(container), stream.width, stream.height, most)
            if container.streams.audio:
                logger.warning("the sound of %s is left out", path)
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise MediaError(f"{path}: frame {len(frames)} has no time stamp; convert the video again")
                _check_points(path, len(frames) + 1, frame.width, frame.height, most)
                frames.append(upright(frame))
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
