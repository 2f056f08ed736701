"""The modalities that the codec knows, and which of them a file or an object is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mappers.files import refuse_taken

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


def refuse_output(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a file to write compressed data to; called before any work is done.

    Raises:
        FileNotFoundError: its folder is missing.
        ValueError: it ends like a file to compress, because the name of the file to write was forgotten.
        FileExistsError: a file would be replaced, and ``overwrite`` is not set.
    """
    path = Path(path)
    if any(path.suffix.lower() in codec.endings for codec in MODALITY_CODECS.values()):
        raise ValueError(f"{path} ends like a file to compress and cannot be the file to write; end its name in .mfc")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path}; make it first")
    refuse_taken(path, overwrite=overwrite)


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
