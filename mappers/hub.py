"""Model ids to folders: an existing folder, an embedded model, else an id of the Hugging Face hub."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that ships with the package and works offline."""

    id: str
    kind: str
    package: str
    """Import package that holds it; found without importing upwards."""
    subfolder: str

    @property
    def folder(self) -> Path:
        """Absolute folder of the model."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"the package {self.package} is not installed; reinstall mapfield")
        return Path(next(iter(spec.submodule_search_locations))).resolve() / self.subfolder

    @property
    def files(self) -> list[Path]:
        """Its weights."""
        return sorted(self.folder.rglob("*.safetensors"))

    @property
    def parameters(self) -> int:
        """Number of weights, read from the files' headers."""
        return sum(_count(path) for path in self.files)

    @property
    def size(self) -> int:
        """Bytes of its weights on disk."""
        return sum(path.stat().st_size for path in self.files)


EMBEDDED = (
    EmbeddedModel("nano", "text-to-image (Stable Diffusion layout)", "pipelines", "nano/text_to_image"),
    EmbeddedModel("nano-clip", "picture and text embedding (CLIP layout)", "pipelines", "nano/clip"),
    EmbeddedModel(
        "nano-audio", "vision-to-audio (AudioLDM layout with CLIP and mapper)", "pipelines", "nano/vision_to_audio"
    ),
    EmbeddedModel("nano-clap", "sound and text embedding (CLAP layout)", "pipelines", "nano/clap"),
    EmbeddedModel("pictures32", "codec of small pictures (RECOMBINER)", "nerf", "nano/pictures32"),
    EmbeddedModel("tiny", "codec for tests (RECOMBINER)", "nerf", "nano/tiny"),
)


def embedded_models() -> list[EmbeddedModel]:
    """The models that are really there."""
    return [model for model in EMBEDDED if model.files]


def resolve(model: str | Path) -> str:
    """What ``from_pretrained`` takes for ``model``: an absolute folder or a hub id ``organisation/name``.

    Raises:
        FileNotFoundError: it looks like neither; the message says what was tried.
    """
    if Path(model).expanduser().is_dir():
        return str(Path(model).expanduser().resolve())
    for candidate in EMBEDDED:
        if str(model) == candidate.id:
            if not candidate.files:
                raise FileNotFoundError(f"the embedded model {model} has no weights in {candidate.folder}")
            return str(candidate.folder)
    if isinstance(model, str) and model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return model
    ids = ", ".join(candidate.id for candidate in EMBEDDED)
    raise FileNotFoundError(
        f"model {str(model)!r} is neither a folder, nor an embedded model ({ids}), nor a hub id like "
        "organisation/name; use 'nano' to run without downloads"
    )


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
