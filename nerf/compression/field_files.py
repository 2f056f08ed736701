"""Fields as small files: weights of a few bits, entropy coded, with the codec's beginning and end of a file.

:mod:`nerf.compression.container.field` has the layout. Weights decode to whole multiples of powers of two, the same
on all machines.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mappers.files import refuse_filled, refuse_taken, replacing
from mappers.pixels import to_bytes
from mappers.training.run_report import REPORT
from mappers.training.trainer import FitReport

from ..evaluation import picture_of
from ..export import FILMS, write_film
from ..fields import VolumeField, restore_field
from ..fields.quantized import FEWEST, MOST, bits_per_tensor, quantize
from ..media.fields import MEDIA_FIELDS, MediaField, PictureField
from ..media.fitting import draw_frames, draw_picture, load_media_field, restore_media_field
from ..rendering.occupancy import OccupancyGrid
from ..rendering.samplers import UniformSampler
from ..rendering.sampling import Marching
from ..runs import FIELD, VolumeRun, load_run
from ..viewpoints import Viewpoints
from .container import field
from .container.binary import MAGIC, varint, with_checksum
from .container.errors import HeaderError, naming
from .container.field import KIND, RAW, VERSION
from .modalities.modality import refuse_ending
from .modalities.pictures import refuse_no_picture
from .modalities.registry import refuse_output
from .overview import read_file


@dataclass(frozen=True)
class FieldFile:
    """The parts of a field's file."""

    family: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    """All tensors; those in `bits` hold whole multiples of a power of two."""
    bits: dict[str, int]
    """Bits of a weight, for every tensor that is rounded."""
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What is needed to draw the field."""

    def write(self) -> bytes:
        """The file's bytes."""
        tensors, body = [], []
        for name, value in self.state.items():
            bits, exponent = self.bits.get(name, RAW), 0
            if bits == RAW:
                kept = value.detach().cpu().float().numpy().astype("<f4")
            else:
                whole, exponent = quantize(value.cpu(), bits)
                kept = whole.numpy()
            body.append(kept.tobytes())
            tensors.append([name, list(value.shape), bits, exponent])
        head = {"family": self.family, "config": self.config, "tensors": tensors, "about": self.about}
        packed = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), 9)
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
        coded = coder.compress(b"".join(body)) + coder.flush()
        start = MAGIC + bytes([VERSION, KIND])
        return with_checksum(start + varint(len(packed)) + packed + varint(len(coded)) + coded)


def read(data: bytes) -> FieldFile:
    """Parse a field's file; its content is decoded only after the checksum matches.

    Raises:
        CompressedFileError: the subclass says what is wrong.
    """
    head, values = field.read_field(data)
    try:
        state, place = {}, 0
        for (name, shape, bits, exponent), size in zip(head["tensors"], field.sizes(head), strict=True):
            dtype, width, scale = ("<f4", 4, 1.0) if bits == RAW else ("i1", 1, 2.0**exponent)
            part = np.frombuffer(values, dtype, size // width, place)
            state[name] = (torch.from_numpy(part.astype(np.float32)) * scale).view(shape)
            place += size
        bits_by_name = {name: bits for name, _, bits, _ in head["tensors"] if bits != RAW}
        return FieldFile(head["family"], head["config"], state, bits_by_name, head["about"])
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise field.contradiction(error) from error


def compress_run(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    bits: int | Mapping[str, int] | None = None,
    target_bytes: int | None = None,
    overwrite: bool = False,
) -> bytes:
    """Write the field of a run of ``train`` or ``fit`` as a small file.

    Args:
        folder: the run.
        output: file to write.
        bits: bits of a weight, see `quantized.bits_per_tensor`; by default those that it was trained with, else 8.
        target_bytes: largest size of the file; weights get as many bits as it allows.
        overwrite: replace a file that has the name of ``output``.

    Returns:
        The file's bytes.

    Raises:
        FileNotFoundError, ValueError: the run cannot be read, its field cannot be quantized, or the target is too low.
        FileExistsError: a file has the name of ``output``, and ``overwrite`` is not set.
    """
    if output is not None:
        refuse_output(output, overwrite=overwrite)
    folder = Path(folder)
    if not (folder / REPORT).is_file():
        raise FileNotFoundError(f"{folder} holds no finished run ({REPORT} is missing); train or fit one with --output")
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    built, about = _of_media(folder, report) if "media" in report else _of_scene(load_run(folder).volume())
    if bits is None:
        trained: int | Mapping[str, int] | None = report["settings"].get("bits")
        bits = trained or MOST
    if target_bytes is None:
        data = to_field_file(built, bits, about).write()
    else:
        data = _fitting(built, about, target_bytes)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(data)
    return data


def to_field_file(built: Any, bits: int | Mapping[str, int], about: dict[str, Any] | None = None) -> FieldFile:
    """Quantize a field's weights to the parts of a file.

    Raises:
        ValueError: bits are out of range, or the field has tensors of integers, as a voxel grid has.
    """
    state = built.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            dtype = str(value.dtype).removeprefix("torch.")
            raise ValueError(
                f"cannot quantize a {built.name} field: its tensor {name!r} is {dtype}, and only float tensors are"
                " supported; distill it to another family first (mapfield nerf distill)"
            )
    return FieldFile(built.name, dataclasses.asdict(built.config), state, bits_per_tensor(built, bits), about or {})


def _fitting(built: nn.Module, about: dict[str, Any], target: int) -> bytes:
    size = 0
    for bits in range(MOST, FEWEST - 1, -1):
        data = to_field_file(built, bits, about).write()
        size = len(data)
        if size <= target:
            return data
    raise ValueError(
        f"target_bytes {target} cannot be met: with {FEWEST} bits a weight the file still has {size} bytes; ask for"
        " more, or fit a smaller field"
    )


def _of_media(folder: Path, report: Mapping[str, Any]) -> tuple[MediaField, dict[str, Any]]:
    names = ("frames", "size", "fps", "times")
    return load_media_field(folder / FIELD), {name: report[name] for name in names}


def _of_scene(run: VolumeRun) -> tuple[nn.Module, dict[str, Any]]:
    about: dict[str, Any] = {
        "scene": Path(run.scene).name,
        "downscale": run.downscale,
        "marching": dataclasses.asdict(run.marching),
        "viewpoints": dataclasses.asdict(run.viewpoints),
    }
    cells = run.sampler.cells()
    if cells is not None:
        bits = np.packbits(cells.cpu().numpy())
        about["cells"] = [len(cells), zlib.compress(bits.tobytes(), 9).hex()]
    return run.field, about


def decompress_field(source: bytes | str | Path, output: str | Path, *, overwrite: bool = False) -> Path:
    """Draw the picture or video of a field's file, or restore the run folder of a scene, to render it.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
        ValueError: the output's ending is not that of a picture or film.
        FileExistsError: there are files at ``output``, and ``overwrite`` is not set.
    """
    data, output = read_file(source), Path(output)
    with naming(source):
        file = read(data)
        built = _built(file)
    _check_output(built, output, overwrite)
    if isinstance(built, VolumeField):
        _write_run(built, file.about, output)
        return output
    frames = field_frames(built, file.about)
    if len(frames) > 1:
        write_film(frames, output, fps=file.about["fps"])
    else:
        with replacing(output) as temporary:
            picture_of(torch.from_numpy(frames[0]).float() / 255).save(temporary)
    return output


def _check_output(built: MediaField | VolumeField, output: Path, overwrite: bool) -> None:
    """Refuse an output of another kind than the field's, or one that would replace files."""
    if isinstance(built, VolumeField):
        refuse_filled(output, overwrite=overwrite)
        return
    if isinstance(built, PictureField):
        refuse_no_picture(output)
    else:
        refuse_ending(output, FILMS, "a film of a field")
    refuse_taken(output, overwrite=overwrite)


def field_frames(built: MediaField, about: Mapping[str, Any]) -> list[np.ndarray]:
    """The frames of a picture's or video's field, [height, width, 3] bytes each."""
    if isinstance(built, PictureField):
        height, width = about["size"]
        values = draw_picture(built, height, width)[None]
    else:
        values = torch.stack(draw_frames(built, torch.tensor(about["times"])))
    return list(to_bytes(values).numpy())


def _built(file: FieldFile) -> MediaField | VolumeField:
    try:
        if file.family in MEDIA_FIELDS:
            return restore_media_field(file.family, file.config, file.state)
        return restore_field(file.family, file.config, file.state).volume()
    except (KeyError, TypeError, RuntimeError) as error:
        raise HeaderError(
            f"damaged header: the field's sizes do not fit its weights ({error}); get an undamaged copy"
        ) from error


def _write_run(built: VolumeField, about: Mapping[str, Any], folder: Path) -> None:
    """Write a run folder with what `load_run` needs."""
    sampler = UniformSampler(built.bounds)
    if "cells" in about:
        resolution, text = about["cells"]
        bits = np.frombuffer(zlib.decompress(bytes.fromhex(text)), np.uint8)
        occupied = torch.from_numpy(np.unpackbits(bits)[: resolution**3]).view(3 * (resolution,)).bool()
        sampler = grid = OccupancyGrid(built.bounds, resolution)
        grid.occupied.copy_(occupied)
        grid.density.copy_(occupied.float())
    seen = Viewpoints.from_json(about["viewpoints"])
    marching = Marching(**about["marching"])
    run = VolumeRun(built, seen, about["scene"], about["downscale"], FitReport(), sampler=sampler, marching=marching)
    run.save(folder, None)
