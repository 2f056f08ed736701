"""A grids model as files: whole numbers for what decoding needs, half precision for what only encoding needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from ..model.stored import WEIGHTS, damaged, model_id, write_model
from .network import GridsNetwork
from .stored import FORMAT, stored_decoder
from .tables import LARGEST_STEP, squash_table, step_of
from .whole_numbers import ACTIVATION, INPUT, MATRIX, WEIGHT

DECODER, ENCODER = WEIGHTS["grids"], "encoder.safetensors"
STEP_PLACES = 10
"""Binary places of the steps in a file."""
_ENCODER_ONLY = ("analysis", "before")


class GridsModel:
    """The numbers of a model.

    Args:
        config: widths of the networks.
        decoder: whole numbers by name: weights of the networks, matrices of the transforms, steps and logarithms.
        encoder: the transforms from pixels to coefficients, and the gains.
    """

    def __init__(self, config: Mapping[str, Any], decoder: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]):
        # safetensors writes an array's memory, whatever its order is.
        self.decoder, self.encoder = (
            {name: np.ascontiguousarray(value) for name, value in part.items()} for part in (decoder, encoder)
        )
        self.config = dict(config)
        self.id = model_id(self.config, self.decoder)
        self.network = GridsNetwork(**self.config["widths"])
        """The same networks in single precision, for an encoder's search."""
        self.network.load_state_dict(self._floats())
        self.network.eval().requires_grad_(False)
        self.steps = self.decoder["steps"] / 2**STEP_PLACES

    @torch.no_grad()
    def drawn(self, coarse: Tensor, fine: Tensor, step: int) -> Tensor:
        """Samples 0..255 in single precision, which may differ by one from the exact ones."""
        width = torch.full((len(coarse),), float(self.steps[step]))
        pixels = self.network.synthesise(coarse.float(), fine.float(), width)
        return (pixels + 127.5).round().clamp(0, 255)

    def _floats(self) -> dict[str, Tensor]:
        found: dict[str, np.ndarray] = {name: value.astype(np.float64) for name, value in self.encoder.items()}
        for name, value in self.decoder.items():
            if name.startswith(("fine.", "coarse.")):
                found[name] = value / 2**MATRIX
            elif "." in name:
                found[name] = value / 2 ** _places(name)
        for level in ("fine", "coarse"):  # the decoder's matrices have the gains in them
            gain = np.exp(found[f"{level}_log_gain"])[:, 0]
            rows = found[f"{level}.synthesis"]
            rows[len(rows) - len(gain) :] *= gain
        return {name: torch.from_numpy(value).float() for name, value in found.items()}

    @classmethod
    def trained(cls, network: GridsNetwork, widths: Mapping[str, int]) -> GridsModel:
        """The model of a trained network.

        Raises:
            ValueError: a weight is too large for a whole number of 16 bits.
        """
        state = {name: value.detach().cpu().double() for name, value in network.state_dict().items()}
        encoder = {
            name: value.half().numpy()
            for name, value in state.items()
            if name.endswith(_ENCODER_ONLY) or name.endswith("log_gain")
        }
        decoder: dict[str, np.ndarray] = {}
        for name, value in state.items():
            if name in encoder:
                continue
            if name.startswith(("fine.", "coarse.")):
                level = name.split(".")[0]
                if name.endswith("synthesis"):
                    gain = torch.from_numpy(encoder[f"{level}_log_gain"]).double().exp()[:, 0]
                    value = value.clone()
                    value[len(value) - len(gain) :] /= gain
                decoder[name] = _whole(name, value * 2**MATRIX, np.int32)
            else:
                kind = np.int32 if name.endswith("bias") else np.int16
                decoder[name] = _whole(name, value * 2.0 ** _places(name), kind)
        steps = [step_of(number) for number in range(LARGEST_STEP + 1)]
        decoder["steps"] = np.rint(np.array(steps) * 2**STEP_PLACES).astype(np.int32)
        decoder["planes"] = np.rint((np.log(steps) - 3.5) * 2**INPUT).astype(np.int32)
        decoder["squash"] = squash_table(INPUT)
        return cls({"format": FORMAT, "method": "grids", "widths": dict(widths)}, decoder, encoder)

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``decoder.safetensors`` and ``encoder.safetensors``."""
        write_model(folder, self.config, {DECODER: self.decoder, ENCODER: self.encoder})

    @classmethod
    def load(cls, folder: Path) -> GridsModel:
        """Read what :meth:`save` wrote.

        Raises:
            CodecModelError: the folder holds no grids model, or a damaged one.
        """
        config, decoder = stored_decoder(folder)
        try:
            return cls(config, decoder, load_file(folder / ENCODER))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise damaged(folder, error) from error


def _places(name: str) -> int:
    """Binary places of a network's weight or bias."""
    if not name.endswith("bias"):
        return WEIGHT
    return WEIGHT + (INPUT if ".around." in name or ".layers.0." in name else ACTIVATION)


def _whole(name: str, value: Tensor, kind: type[np.signedinteger]) -> np.ndarray:
    numbers = value.round()
    if float(numbers.abs().max()) > np.iinfo(kind).max:
        raise ValueError(f"{name} has weights that are too large for whole numbers; train with a smaller learning rate")
    return numbers.numpy().astype(kind)


@lru_cache(maxsize=2)
def load_grids(folder: Path) -> GridsModel:
    """The model in a folder.

    Raises:
        CodecModelError: the folder holds no grids model, or a damaged one.
    """
    return GridsModel.load(folder)
