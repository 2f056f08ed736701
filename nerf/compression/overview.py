"""What a compressed file holds: ``mapfield nerf info``. Free of torch, so that it answers at once."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from mappers.options import declared_by

from .coding.indices import IndexCode, PrefixCode
from .container import bitstream, chunks, field
from .container.bitstream import Container
from .container.errors import WrongModelError, naming
from .description import Tiling
from .grids.payload import split
from .grids.stored import stored_id
from .grids.tables import step_of
from .model.stored import StoredModel, folder_of, shipped_models, stored_model
from .options import InfoOptions
from .payload import component_bytes, read_components, read_indices


@declared_by(InfoOptions)
def describe(source: bytes | str | Path, *, model: str | None = None) -> dict[str, str | int | float]:
    """What a compressed file holds, by name: its header, its size, and what takes its bits.

    ``source`` may also be the file's bytes.

    Raises:
        FileNotFoundError: there is no such file or model.
        CompressedFileError: the file is damaged, or of a model that is not shipped; the message says which.
    """
    data = read_file(source)
    with naming(source):
        container = bitstream.read(data)
        name = model_name(container, model)
        details = _grids(container) if container.method == "grids" else _bits(container, stored_model(folder_of(name)))
    return {
        "modality": container.modality,
        "method": container.method,
        "model": container.model.hex(),
        "rate": container.rate,
        "items": len(container.items),
        "shape": "x".join(map(str, container.items[0].dims)),
        "file bytes": len(data),
        "file bits per point": 8 * len(data) / sum(math.prod(item.dims) for item in container.items),
        **details,
    }


def _grids(container: Container) -> dict[str, str | int | float]:
    """The step, and the tiles and their bits."""
    streams = [stream for item in container.items for stream in split(item)]
    return {"step": step_of(container.rate), "tiles": len(streams), "tile bits": 8 * sum(map(len, streams))}


def _bits(container: Container, stored: StoredModel) -> dict[str, str | int | float]:
    """The bits of the patches' components and of the indices of each level."""
    description, code = stored.description, IndexCode(stored.lengths)
    component_code = PrefixCode(stored.component_lengths[container.rate])
    bits, named = [0] * len(description.columns), 0
    for item in container.items:
        tiling = description.tiling(item.dims)
        components, size, _ = read_components(description, component_code, tiling, item.payload)
        named += 8 * len(component_bytes(description, component_code, components))
        blocks = block_sizes(stored, container.rate, tiling, components)
        count = sum(rows for _, rows in blocks)
        indices, _ = read_indices(description, code, container, item, size, count)
        place = 0
        for level, rows in blocks:
            found = indices[place : place + rows]
            bits[level] += sum(code.size(index) for index in found if index != chunks.MISSING)
            place += rows
    return {
        **({"component bits": named} if named else {}),
        **{f"level {level + 1} bits": count for level, count in enumerate(bits)},
    }


def describe_field(source: bytes | str | Path) -> dict[str, str | int | float]:
    """What a field's file holds, by name: its family, its weights and its size.

    ``source`` may also be the file's bytes.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
    """
    data = read_file(source)
    with naming(source):
        return _of_field(data)


def _of_field(data: bytes) -> dict[str, str | int | float]:
    head, _ = field.read_field(data)
    try:
        rounded = {name: (math.prod(shape), bits) for name, shape, bits, _ in head["tensors"] if bits != field.RAW}
        weights = sum(count for count, _ in rounded.values())
        return {
            "kind": "field",
            "family": head["family"],
            "weights": weights,
            "bits of a weight": " ".join(map(str, sorted({bits for _, bits in rounded.values()}))),
            "file bytes": len(data),
            "file bits per weight": 8 * len(data) / max(weights, 1),
            **{name: str(head["about"][name]) for name in ("size", "frames", "scene") if name in head["about"]},
        }
    except (LookupError, TypeError) as error:
        raise field.contradiction(error) from error


def read_file(source: bytes | str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, bytes):
        return source
    if not Path(source).is_file():
        raise FileNotFoundError(f"there is no file {source}")
    return Path(source).read_bytes()


def model_name(container: Container, model: str | None) -> str:
    """The model that a file was written with: the given one, or the shipped one with the id in the file.

    Raises:
        WrongModelError: no shipped model has that id.
    """
    if model is not None:
        return model
    for name, folder in shipped_models(container.method).items():
        if container.method == "grids":
            if stored_id(folder) == container.model:
                return name
            continue
        stored = stored_model(folder)
        if stored.description.modality == container.modality and stored.id == container.model:
            return name
    raise WrongModelError(
        f"the file was written with model {container.model.hex()}, which is not shipped; give its folder as model"
    )


def block_sizes(stored: StoredModel, rate: int, tiling: Tiling, components: tuple[int, ...]) -> list[tuple[int, int]]:
    """Level and number of indices of each block, in the order of `block_order.BlockOrder`."""
    found, start = [], 0
    for level, (count, columns) in enumerate(stored.description.priors):
        rows = Counter(components) if level == 0 else {0: tiling.rows[level]}
        numbers = stored.tensors["block"][rate][start : start + count * columns].reshape(count, columns)
        for component in rows:
            blocks = int(np.max(numbers[component])) + 1
            found += [(-level, number, component, rows[component]) for number in range(blocks)]
        start += count * columns
    return [(-level, size) for level, _, _, size in sorted(found)]
