"""The video codec that ours is compared with: H.264 by x264 at its preset "slow", in an mp4 file, through PyAV."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np

from benchmarks.common.curves import Point
from benchmarks.common.picture_codecs import Frames
from mappers.quality import psnr

RATE_FACTORS = range(10, 52, 3)
"""x264's constant rate factors (crf) of its curve."""


def h264_curve(frames: Frames, fps: float) -> list[Point]:
    """Bytes of the mp4 file of a video and mean PSNR of its frames, at every rate factor."""
    return sorted(h264(frames, fps, crf) for crf in RATE_FACTORS)


def h264(frames: Frames, fps: float, crf: int) -> Point:
    """Bytes of the mp4 file and mean PSNR of the decoded frames; sides have to be even."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=round(fps), options={"crf": str(crf), "preset": "slow"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        with av.open(str(path)) as container:
            decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        return path.stat().st_size, mean_psnr(decoded, frames)


def mean_psnr(frames: Frames, truth: Frames) -> float:
    """Mean PSNR of the frames, dB."""
    return float(np.mean([psnr(a, b) for a, b in zip(frames, truth, strict=True)]))


def overall_psnr(frames: Frames, truth: Frames) -> float:
    """PSNR of all values together, dB: for volumes, many of whose slices are empty."""
    return psnr(frames, truth)
