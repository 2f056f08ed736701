"""The modalities that the codec knows, and which of them a file or an object is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mappers.files import refuse_taken
from mappers.pictures import is_still

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

FOREIGN = {
    ".nii": "a NIfTI volume", ".nii.gz": "a NIfTI volume", ".dcm": "a DICOM picture", ".nrrd": "an NRRD volume",
    ".mha": "a MetaImage volume", ".mhd": "a MetaImage volume", ".mat": "a MATLAB file", ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file", ".zarr": "a Zarr array", ".exr": "an OpenEXR picture",
}  # fmt: skip
"""Endings of formats that hold volumes or pictures of floats and are not read, with their names."""


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

    A folder is a video's frames. A GIF of one frame is a picture, and so is a file of an unknown ending.

    Raises:
        ValueError: an object of this class, or a file of this format, cannot be compressed.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        for ending, name in FOREIGN.items():
            if path.name.lower().endswith(ending):
                raise ValueError(
                    f"{path} is {name}, which cannot be read; save its values, an array of three axes, as .npy"
                )
        if is_still(path):
            return MODALITY_CODECS["picture"]
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
