"""Frames of video files as players show them."""

from __future__ import annotations

from typing import Any, Literal

import av
import numpy as np
from jaxtyping import UInt8


def tracks(container: av.container.InputContainer, kind: Literal["video", "audio"]) -> list[Any]:
    """The tracks of a kind that can be decoded: damage may leave one without a known codec, or without a size."""
    found = [stream for stream in getattr(container.streams, kind) if stream.codec_context is not None]
    return [stream for stream in found if (stream.width and stream.height if kind == "video" else stream.rate)]


def upright(frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
    """A frame's RGB values, turned and mirrored as the file says: phones write films of one orientation and a matrix.

    The nearest turn by a multiple of 90 degrees is taken.
    """
    values = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return values
    # Of the 9 numbers, x of a shown point is right[0] x + right[1] y, and its y is down[0] x + down[1] y.
    numbers = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3).astype(np.int64)
    right, down = numbers[:2, 0], numbers[:2, 1]
    if abs(right[1]) > abs(right[0]):
        values = values.swapaxes(0, 1)
        right, down = right[::-1], down[::-1]
    return np.ascontiguousarray(values[:: -1 if down[1] < 0 else 1, :: -1 if right[0] < 0 else 1])


def shown(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as players show it: itself, unless the file says to turn or mirror it."""
    if frame.side_data.get("DISPLAYMATRIX") is None:
        return frame
    return av.VideoFrame.from_ndarray(upright(frame), format="rgb24")
