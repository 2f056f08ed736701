"""Videos: frames in RGB at a whole number of frames per second."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from mappers.files import refuse_filled, refuse_taken, replacing
from mappers.pictures import MOVING_ENDINGS

from ...media.reading import FPS, read_media
from ..container.bitstream import EXTRA, LARGEST_ITEM, Item, check_dims
from ..container.errors import PayloadError
from ..description import Box, Modality
from .modality import Datum, Video, refuse_ending

FILMS = (".mp4", ".mkv")
"""Endings of the files that a video is written to."""


class VideoCodec:
    """Codec of videos, from files or folders of frames."""

    modality: Modality = "video"
    steps = 255
    endings = MOVING_ENDINGS
    ending = ".mkv"

    def read(self, path: Path) -> Video:
        """Frames of a file, or of a folder in the order of their names.

        Raises:
            ValueError: it is damaged, or has fewer than two frames.
        """
        found = read_media(path, most=LARGEST_ITEM)
        return Video(found.frames.numpy(), found.fps)

    def to_datum(self, media: Video) -> Datum:
        """Values of the frames, [3, n, h, w].

        Raises:
            ValueError: the frames are not [n, h, w, 3] bytes, or the frame rate is not positive.
        """
        frames = np.asarray(media.frames)
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not 1 <= media.fps < 65536:
            raise ValueError(
                f"a video must be bytes [n, h, w, 3] at 1 to 65535 frames per second, got {frames.dtype}"
                f" {frames.shape} at {media.fps}"
            )
        check_dims(frames.shape[:3])
        values = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2).float().div_(255).sub_(0.5)
        return Datum(values, EXTRA, media.fps.to_bytes(2, "little"))

    def from_samples(self, samples: UInt8[np.ndarray, "3 n h w"], item: Item, box: Box) -> Video:
        """The video of samples 0..255.

        Raises:
            PayloadError: the frame rate is damaged.
        """
        fps = int.from_bytes(item.extra, "little") if item.flags & EXTRA else FPS
        if item.flags & EXTRA and len(item.extra) != 2 or not fps:
            raise PayloadError("damaged content: the video's frame rate cannot be read; get an undamaged copy")
        return Video(np.ascontiguousarray(samples.transpose(1, 2, 3, 0)), fps)

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse a name that has another ending than .mp4 and .mkv, and to replace a file or to add to a folder's."""
        if path.suffix:
            refuse_ending(path, FILMS, "a video")
            refuse_taken(path, overwrite=overwrite)
        else:
            refuse_filled(path, overwrite=overwrite)

    def write(self, media: Video, path: Path) -> None:
        """Write a file in lossless H.264, or PNG files into a folder if the path has no ending."""
        if not path.suffix:
            path.mkdir(parents=True, exist_ok=True)
            for number, frame in enumerate(media.frames):
                with replacing(path / f"{number:04d}.png") as temporary:
                    Image.fromarray(frame).save(temporary)
            return
        refuse_ending(path, FILMS, "a video")
        with replacing(path) as temporary, av.open(str(temporary), "w") as container:
            stream = container.add_stream("libx264rgb", rate=media.fps, options={"qp": "0"})
            stream.height, stream.width = media.frames.shape[1:3]
            stream.pix_fmt = "rgb24"
            for frame in media.frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
