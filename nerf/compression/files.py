"""``nerf.compression.compress`` and ``decompress``: data to files of a given size or quality, and back."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mappers.files import refuse_filled, replacing
from mappers.options import declared_by

from .container import bitstream
from .container.bitstream import EXTRA, Item
from .container.errors import PayloadError, naming
from .description import Box, Modality
from .encoder import EncodeConfig
from .grids.model import GridsModel
from .grids.writer import EFFORT, GridsWriter
from .modalities.modality import Compressible, Datum, ModalityCodec
from .modalities.registry import MODALITY_CODECS, modality_codec_of, refuse_output
from .models import AnyModel, load_any, modality_of, model_of
from .options import CompressOptions, DecompressOptions
from .overview import read_file
from .reconstruction import boxes_of, decode
from .writer import Writer

logger = logging.getLogger(__name__)

DEFAULT_MODELS: dict[Modality, str] = {
    "picture": "grids-photos", "sound": "sounds", "video": "videos", "volume": "volumes"
}  # fmt: skip
"""The shipped model of each modality."""
SMALL_MODEL, SMALL = "pictures32", 32
"""The model for small pictures, and their largest side in pixels."""


@dataclass(frozen=True)
class Compressed:
    """A compressed file, with its quality and size."""

    data: bytes
    psnr: float
    """PSNR of the decoded file compared with the input in dB; the mean over the items of a pack."""
    bits_per_point: float
    """Size of the whole file, header included; a point is a pixel, a sample in time or a voxel."""
    seconds: float
    """How long compression took."""


@declared_by(CompressOptions)
def compress(
    sources: Compressible | str | Path | Sequence[Compressible | str | Path],
    output: str | Path | None = None,
    *,
    model: str | None = None,
    target_bytes: int | None = None,
    target_psnr: float | None = None,
    seconds: float | None = None,
    effort: int | None = None,
    overwrite: bool = False,
    config: EncodeConfig | None = None,
) -> Compressed:
    """Compress a picture, sound, video or volume, or several of one modality into one file, a pack.

    Args:
        sources: what to compress, or its file; a list makes a pack.
        output: file to write.
        config: settings of the search of a model of the method indices.

    Returns:
        The file's bytes, and its quality measured by decoding it.

    Raises:
        FileNotFoundError, ValueError: an input, the model or a target cannot be used; the message says why.
        FileExistsError: a file has the name of ``output``, and ``overwrite`` is not set.
    """
    start = time.monotonic()
    _check_targets(target_bytes, target_psnr, seconds)
    if output is not None:
        refuse_output(output, overwrite=overwrite)
    pack = isinstance(sources, (list, tuple))
    given = list(sources) if isinstance(sources, (list, tuple)) else [sources]
    if not given:
        raise ValueError("there is nothing to compress; give at least one picture, sound, video or volume")
    codecs = [modality_codec_of(source) for source in given]
    if len(set(codecs)) > 1:
        other = next(i for i, codec in enumerate(codecs) if codec is not codecs[0])
        named = [str(given[i]) if isinstance(given[i], (str, Path)) else f"number {i + 1}" for i in (0, other)]
        raise ValueError(
            f"a pack holds data of one kind, but {named[0]} is a {codecs[0].modality} and {named[1]} a"
            f" {codecs[other].modality}; make a pack for each kind"
        )
    codec = codecs[0]
    data = [codec.to_datum(codec.read(Path(s)) if isinstance(s, (str, Path)) else s) for s in given]
    writer = _writer(_model_for(codec, data, model), codec, data, pack, config, seconds, effort)
    if target_psnr is not None:
        written = writer.of_quality(target_psnr)
    elif target_bytes is not None:
        written = writer.of_size(target_bytes)
    else:
        written = writer.at_default()
    file, quality = writer.finished(written)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(file)
    points = sum(math.prod(datum.dims) for datum in data)
    return Compressed(file, quality, 8 * len(file) / points, time.monotonic() - start)


def _check_targets(target_bytes: int | None, target_psnr: float | None, seconds: float | None) -> None:
    if target_bytes is not None and target_psnr is not None:
        raise ValueError("target_bytes and target_psnr cannot be combined; give one of them")
    for name, value in (("target_bytes", target_bytes), ("target_psnr", target_psnr), ("seconds", seconds)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, got {value}")


def _writer(
    model: AnyModel,
    codec: ModalityCodec,
    data: Sequence[Datum],
    pack: bool,
    config: EncodeConfig | None,
    seconds: float | None,
    effort: int | None,
) -> Writer | GridsWriter:
    """The writer of a model's method.

    Raises:
        ValueError: an argument is for the other method.
    """
    if isinstance(model, GridsModel):
        if seconds is not None or config is not None:
            raise ValueError("seconds and config are for models of the method indices; for grids, give effort")
        return GridsWriter(model, data, pack, EFFORT if effort is None else effort)
    if effort is not None:
        raise ValueError("effort is for models of the method grids; for indices, give seconds")
    return Writer(model, codec, data, pack, config or EncodeConfig(), seconds)


def _model_for(codec: ModalityCodec, data: Sequence[Datum], name: str | None) -> AnyModel:
    """The named model, or the shipped one for the modality and size of the data.

    Raises:
        ValueError: the named model is for another modality.
    """
    if name is None:
        small = codec.modality == "picture" and max(size for datum in data for size in datum.dims) <= SMALL
        name = SMALL_MODEL if small else DEFAULT_MODELS[codec.modality]
    model = load_any(name)
    if modality_of(model) != codec.modality:
        raise ValueError(f"model {name} is for a {modality_of(model)}, not for a {codec.modality}; name another")
    return model


@declared_by(DecompressOptions)
def decompress(
    source: bytes | str | Path,
    output: str | Path | None = None,
    *,
    model: str | None = None,
    fast: bool = False,
    share: float = 1.0,
    region: Sequence[int] | None = None,
    salvage: bool = False,
    overwrite: bool = False,
) -> Compressible | list[Compressible]:
    """The picture, sound, video or volume of a compressed file, or the list of those of a pack.

    ``source`` may also be the file's bytes, and ``region`` a list of numbers. The samples of a region are those of the
    whole.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
        FileExistsError: there are files at ``output``, and ``overwrite`` is not set.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share}")
    data = read_file(source)
    with naming(source):
        container = bitstream.read(data, salvage=salvage)
        codec = MODALITY_CODECS[container.modality]
        if output is not None and container.pack:
            refuse_filled(output, overwrite=overwrite)
        elif output is not None:
            codec.check_output(Path(output), overwrite=overwrite)
        codec_model = model_of(container, model)
        decoded = decode(container, codec_model, fast=fast, share=share, region=region, salvage=salvage)
        media = [
            _made(codec, samples, item, boxes_of(item, region)[0], salvage)
            for samples, item in zip(decoded, container.items, strict=True)
        ]
    if output is not None:
        _save(codec, media, Path(output), container.pack)
    return media if container.pack else media[0]


def _made(codec: ModalityCodec, samples: np.ndarray, item: Item, box: Box, salvage: bool) -> Compressible:
    """Decoded data from samples. With ``salvage``, what is kept exactly is left out if it is damaged."""
    try:
        return codec.from_samples(samples, item, box)
    except PayloadError as error:
        if not salvage:
            raise
        logger.warning("%s", error)
        return codec.from_samples(samples, dataclasses.replace(item, flags=item.flags & ~EXTRA), box)


def _save(codec: ModalityCodec, media: Sequence[Compressible], output: Path, pack: bool) -> None:
    if pack:
        for number, datum in enumerate(media):
            codec.write(datum, output / f"{number:04d}{codec.ending}")
    else:
        codec.write(media[0], output)
