"""Fields of pictures and videos, and how both are read and fitted. Importing the package does not import torch."""

from __future__ import annotations

from pathlib import Path


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its ending (a GIF is one), or a folder that holds the frames of one."""
    from mappers.pictures import MOVING_ENDINGS

    return Path(path).suffix.lower() in MOVING_ENDINGS or Path(path).is_dir()
