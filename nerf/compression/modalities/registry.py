"""The kinds of data that the codec knows, and which of them a file or an object is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..description import Modality
from .modality import Kind, Media, Sound, Video
from .pictures import Pictures
from .sounds import Sounds
from .videos import Videos
from .volumes import Volumes

KINDS: dict[Modality, Kind] = {"picture": Pictures(), "sound": Sounds(), "video": Videos(), "volume": Volumes()}
_CLASSES: dict[type, Modality] = {Image.Image: "picture", Sound: "sound", Video: "video", np.ndarray: "volume"}


def kind_of(source: Media | str | Path) -> Kind:
    """The kind of a file by its ending (a folder holds frames), or of an object by its class; else a picture."""
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return KINDS["video"]
        return next((kind for kind in KINDS.values() if path.suffix.lower() in kind.endings), KINDS["picture"])
    for known, modality in _CLASSES.items():
        if isinstance(source, known):
            return KINDS[modality]
    raise ValueError(f"a {type(source).__name__} cannot be compressed; give a picture, Sound, Video, array or file")
