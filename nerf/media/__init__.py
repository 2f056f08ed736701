"""Fields of pictures and videos, and how both are read and fitted. Importing the package does not import torch."""

from __future__ import annotations

from pathlib import Path


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its ending (a GIF of several frames is one), or a folder with the frames of one."""
    from mappers.pictures import MOVING_ENDINGS, is_still

    path = Path(path)
    return path.is_dir() or (path.suffix.lower() in MOVING_ENDINGS and not is_still(path))
