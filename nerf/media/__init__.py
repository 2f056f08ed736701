"""Fields of pictures and videos, and the reading of what they are fitted to. Free of torch until something is used."""

from __future__ import annotations

from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".gif", ".mkv", ".webm", ".mov", ".avi")


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its ending, or a folder that holds the frames of one."""
    return Path(path).suffix.lower() in VIDEOS or Path(path).is_dir()
