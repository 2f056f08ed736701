"""The files of a codec model as they are read, without its networks. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from mappers.files import replacing

from ..container.bitstream import Method
from ..description import Description

FORMAT = 1
WEIGHTS: dict[Method, str] = {"indices": "model.safetensors", "grids": "decoder.safetensors"}
"""The file of a model's folder from which a decoder reads, by method."""


class CodecModelError(RuntimeError):
    """The folder of a model cannot be read; the message names it and the remedy."""


@dataclass(frozen=True)
class StoredModel:
    """A codec model's configuration and tensors."""

    config: dict[str, Any]
    description: Description
    tensors: dict[str, np.ndarray]
    """Of the network and of each rate, without the amortiser's."""

    @property
    def lengths(self) -> list[int]:
        """Bits of each word of the index code."""
        return self.config["word_lengths"]

    @property
    def component_lengths(self) -> list[list[int]]:
        """For each rate, bits of each word of the code of the prior's components."""
        return self.config["name_lengths"]

    @property
    def id(self) -> bytes:
        """What a file names the model by."""
        return model_id(self.config, self.tensors)


def stored_model(folder: Path) -> StoredModel:
    """Read a model's folder.

    Raises:
        CodecModelError: the folder holds no codec model, or a damaged one.
    """
    try:
        config = config_of(folder, FORMAT)
        fields = {name: _tuples(value) for name, value in config["description"].items()}
        config = {name: config[name] for name in ("format", "description", "word_lengths", "name_lengths")}
        return StoredModel(config, Description(**fields), load_file(folder / WEIGHTS["indices"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(folder, error) from error


def config_of(folder: Path, wanted: int) -> dict[str, Any]:
    """The configuration in a model's folder, whose format is ``wanted``.

    Raises:
        CodecModelError: it has another format.
        OSError, ValueError, KeyError, TypeError: there is none, or a damaged one; see `damaged`.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["format"] != wanted:
        raise CodecModelError(f"{folder} has format {config['format']}, this program reads {wanted}; update mapfield")
    return config


def write_model(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a model's ``config.json`` and its tensors, by the name of their file."""
    contents = {"config.json": (json.dumps(config, indent=2) + "\n").encode()}
    contents |= {name: save(dict(values)) for name, values in tensors.items()}
    for name, content in contents.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def damaged(folder: Path, error: Exception) -> CodecModelError:
    """The error of a folder from which a model cannot be read."""
    return CodecModelError(f"{folder} is not a whole codec model ({error}); restore it, or train it again")


def model_id(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """First eight bytes of the SHA-256 of what a decoder needs: the configuration, then the tensors by name."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.digest()[:8]


def shipped_models(method: Method = "indices") -> dict[str, Path]:
    """Folders of the models of a method in the package, by name."""
    root = Path(__file__).parents[2] / "nano"
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{WEIGHTS[method]}"))}


def folder_of(model: str) -> Path:
    """Folder of a shipped model by name, or a folder itself.

    Raises:
        FileNotFoundError: there is no such model; the message lists the shipped ones.
    """
    shipped = shipped_models() | shipped_models("grids")
    if model in shipped or Path(model).is_dir():
        return shipped.get(model, Path(model))
    raise FileNotFoundError(f"model {model!r} is neither a folder nor shipped; shipped are: {', '.join(shipped)}")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
