"""The files of a grids model as they are read, without its networks. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..model.stored import WEIGHTS, config_of, damaged, model_id

FORMAT = 1


def stored_decoder(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A model's configuration, and the whole numbers that decoding needs, by name.

    Raises:
        CodecModelError: the folder holds no grids model, or a damaged one.
    """
    try:
        config = config_of(folder, FORMAT)
        return config, load_file(folder / WEIGHTS["grids"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(folder, error) from error


def stored_id(folder: Path) -> bytes:
    """The id of a model, which its files name it by."""
    return model_id(*stored_decoder(folder))
