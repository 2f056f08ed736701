"""Model ids to folders: an existing folder, an embedded model, else an id of the Hugging Face hub."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Literal

ModelType = Literal["text-to-image", "CLIP", "OpenCLIP", "vision-to-audio", "CLAP", "category field", "codec"]
"""What a model is for."""
PACKAGES = Path(__file__).resolve().parents[1]
"""Folder of all packages of mapfield. Files in them are read by path, because other programs use the same names."""

OFFLINE = {"ConnectError", "ConnectTimeout", "ConnectionError", "LocalEntryNotFoundError", "OfflineModeIsEnabled"}
"""Names of the errors of a hub that cannot be reached; of several packages, none of which is imported here."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that ships with the package and works offline."""

    id: str
    type: ModelType
    about: str
    """Its layout, or what it was trained on."""
    package: str
    """Package that holds it."""
    subfolder: str

    @property
    def folder(self) -> Path:
        """Absolute folder of the model."""
        return PACKAGES / self.package / self.subfolder

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
    EmbeddedModel("nano", "text-to-image", "Stable Diffusion layout", "pipelines", "nano/text_to_image"),
    EmbeddedModel("nano-clip", "CLIP", "pictures of nano's world", "pipelines", "nano/clip"),
    EmbeddedModel("nano-clip-families", "OpenCLIP", "pictures of chairs and cars", "pipelines", "nano/clip_families"),
    EmbeddedModel(
        "nano-audio", "vision-to-audio", "AudioLDM layout with CLIP and mapper", "pipelines", "nano/vision_to_audio"
    ),
    EmbeddedModel("nano-clap", "CLAP", "sounds of nano's world", "pipelines", "nano/clap"),
    EmbeddedModel("nano-chairs", "category field", "chairs, with code mappers", "nerf", "nano/nano-chairs"),
    EmbeddedModel("nano-cars", "category field", "cars, with code mappers", "nerf", "nano/nano-cars"),
    EmbeddedModel("grids-photos", "codec", "pictures", "nerf", "nano/grids-photos"),
    EmbeddedModel("photos", "codec", "pictures", "nerf", "nano/photos"),
    EmbeddedModel("pictures32", "codec", "small pictures", "nerf", "nano/pictures32"),
    EmbeddedModel("sounds", "codec", "sounds", "nerf", "nano/sounds"),
    EmbeddedModel("videos", "codec", "videos", "nerf", "nano/videos"),
    EmbeddedModel("volumes", "codec", "volumes", "nerf", "nano/volumes"),
    EmbeddedModel("tiny", "codec", "small pictures, for tests", "nerf", "nano/tiny"),
)


def embedded_models() -> list[EmbeddedModel]:
    """The models that are really there."""
    return [model for model in EMBEDDED if model.files]


def resolve(model: str | Path, *types: ModelType) -> str:
    """What ``from_pretrained`` takes for ``model``: an absolute folder or a hub id ``organisation/name``.

    Args:
        model: a folder, the id of an embedded model, or an id of the hub.
        types: types that the caller can use; embedded models of other types are refused.

    Raises:
        FileNotFoundError: ``model`` is none of them; the message says what was tried.
    """
    quiet_loading()
    if Path(model).expanduser().is_dir():
        return str(Path(model).expanduser().resolve())
    found = next((candidate for candidate in EMBEDDED if candidate.id == str(model)), None)
    fitting = [candidate.id for candidate in EMBEDDED if candidate.type in types]
    needed = " or ".join(types)
    if found is not None and found.type not in types:
        raise FileNotFoundError(
            f"the embedded model {model} is for {found.type}, and {needed} is needed here; take {', '.join(fitting)}"
        )
    if found is not None:
        if not found.files:
            raise FileNotFoundError(f"the embedded model {model} has no weights in {found.folder}")
        return str(found.folder)
    if isinstance(model, str) and model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return model
    raise FileNotFoundError(
        f"model {str(model)!r} is neither a folder, nor an embedded model for {needed} ({', '.join(fitting)}), nor a "
        f"hub id like organisation/name; use '{fitting[0]}' to run without downloads"
    )


def why_not_loaded(error: BaseException) -> str:
    """The first line of an error from loading a model; after a failed download, that the hub cannot be reached."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in OFFLINE:
            return "it is not on this computer, and the hub cannot be reached"
        cause = cause.__cause__ or cause.__context__
    return (str(error) or type(error).__name__).splitlines()[0]


def quiet_loading() -> None:
    """Show no progress while models are read from the disk, which takes seconds; downloads still show theirs."""
    shown = "huggingface_hub" in sys.modules and not import_module("huggingface_hub.utils").are_progress_bars_disabled()
    for library in ("transformers", "diffusers"):
        if library in sys.modules:
            import_module(f"{library}.utils.logging").disable_progress_bar()
    if shown:
        import_module("huggingface_hub.utils").enable_progress_bars()


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
