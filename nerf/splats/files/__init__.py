"""Files of Gaussian splats that other programs open: ``.ply``, ``.spz``, ``.splat``, and a page for browsers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mappers.files import replacing

from ...fields import FieldError
from ...fields.splat import SplatField
from .. import ENDINGS
from .antimatter import read_splat, write_splat
from .gaussians import Gaussians, from_field, to_field
from .page import write_page
from .ply import read_ply, write_ply
from .spz import read_spz, write_spz

WRITERS: dict[str, Callable[[Gaussians], bytes]] = {
    ".ply": write_ply,
    ".spz": write_spz,
    ".splat": write_splat,
    ".html": write_page,
}
READERS: dict[str, Callable[[Path], Gaussians]] = dict(zip(ENDINGS, (read_ply, read_spz, read_splat), strict=True))


def write_splats(field: SplatField, path: Path) -> None:
    """Write a cloud as the kind of file that the ending names, first under a temporary name."""
    data = WRITERS[path.suffix.lower()](from_field(field))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def describe_splats(path: Path) -> dict[str, str | int | float]:
    """What a file of Gaussians holds, by name: their number, the degree of their colours, their box, and bytes.

    Raises:
        FileNotFoundError, FieldError: see `read_splats`.
    """
    field = read_splats(path)
    low, high = field.bounds.tolist()
    return {
        "format": path.suffix.lower()[1:],
        "gaussians": field.config.count,
        "degree": field.config.degree,
        "opacity": float(field.opacity_logits.detach().sigmoid().mean()),
        "box": " ".join(f"{value:.3g}" for value in (*low, *high)),
        "bytes": path.stat().st_size,
    }


def read_splats(path: Path) -> SplatField:
    """Read a file of Gaussians.

    Raises:
        FileNotFoundError: there is no such file.
        FieldError: the file is of another kind, or damaged; the message says how.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FieldError(f"{path} must end in {', '.join(READERS)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return to_field(reader(path), str(path))
