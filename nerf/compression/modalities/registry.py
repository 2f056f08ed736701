"""The modalities that the codec knows, and which of them a file or an object is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..description import Modality
from .modality import ModalityCodec, Sound, Video
from .pictures import PictureCodec
from .sounds import SoundCodec
from .videos import VideoCodec
from .volumes import VolumeCodec

MODALITY_CODECS: dict[Modality, ModalityCodec] = {
    "picture": PictureCodec(),
    "sound": SoundCodec(),
    "video": VideoCodec(),
    "volume": VolumeCodec(),
}
_CLASSES: dict[type, Modality] = {Image.Image: "picture", Sound: "sound", Video: "video", np.ndarray: "volume"}


def modality_codec_of(source: object) -> ModalityCodec:
    """The codec for a file by its ending, or for an object by its class.

    A folder is a video's frames, and a file of an unknown ending is taken for a picture.

    Raises:
        ValueError: an object of this class cannot be compressed.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return MODALITY_CODECS["video"]
        return next(
            (kind for kind in MODALITY_CODECS.values() if path.suffix.lower() in kind.endings),
            MODALITY_CODECS["picture"],
        )
    for known, modality in _CLASSES.items():
        if isinstance(source, known):
            return MODALITY_CODECS[modality]
    raise ValueError(f"a {type(source).__name__} cannot be compressed; give a picture, Sound, Video, array or file")
