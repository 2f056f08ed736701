"""What a run is made from, kept with its checkpoints, so that resuming can refuse to go on with something else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from .monitoring import TrainingError
from .train_config import TrainConfig

logger = logging.getLogger(__name__)

MARK = "blake2b:"
"""Begins the fingerprint of data, which messages do not show."""
SAMPLED = 256
"""Numbers of each tensor of a model that its fingerprint covers: further training changes nearly all of them."""
FREE = (
    "max_minutes",
    "save_every",
    "keep_last",
    "validate_every",
    "patience",
    "log_every",
    "log_with",
    "cpu",
    "compile",
)
"""Settings of the trainer that may differ when a run is resumed."""


@dataclasses.dataclass
class RunInputs:
    """Inputs of a run by dotted name: plain values as they are, of data and models a fingerprint."""

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Defaults of settings: a run of a version that did not know a setting had its default."""

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> RunInputs:
        """Describe ``inputs``: settings as dataclasses or mappings, and data and frozen models.

        Data are pictures, arrays, tensors, or sequences of these. A `TrainConfig` is left out, as the trainer compares
        its own settings.

        Raises:
            TypeError: a value is of another kind.
        """
        described = cls()
        for name, value in inputs.items():
            described._add(name, value)
        return described

    def _add(self, name: str, value: Any) -> None:
        if isinstance(value, TrainConfig):
            return
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                self._add(f"{name}.{field.name}", getattr(value, field.name))
                if _plain(field.default):
                    self.defaults[f"{name}.{field.name}"] = _as_json(field.default)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                self._add(f"{name}.{key}", inner)
        else:
            self.values[name] = _as_json(value) if _plain(value) else fingerprint(value)

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """What differs from the inputs ``saved`` of an earlier run, in words."""
        differing = []
        for name in sorted(self.values.keys() | saved.keys()):
            before, now = saved.get(name, self.defaults.get(name)), self.values.get(name)
            if before != now:
                data = any(isinstance(value, str) and value.startswith(MARK) for value in (before, now))
                differing.append(f"{name}: other content" if data else f"{name}: {_short(before)} -> {_short(now)}")
        return differing


def fingerprint(value: Any) -> str:
    """A short string that tells whether data are the same, or a model has the same weights.

    All of the data counts, and of a model's tensors `SAMPLED` numbers each.

    Args:
        value: a tensor, array, picture, module, bytes, plain value, or a sequence or mapping of these.

    Raises:
        TypeError: it is of another kind.
    """
    digest = hashlib.blake2b(digest_size=12)
    _update(digest, value)
    return MARK + digest.hexdigest()


def check_same_run(
    config: TrainConfig, inputs: RunInputs | None, state: Mapping[str, Any], step: int, at: Path
) -> None:
    """Refuse to resume with settings or inputs that would change what the uninterrupted run had done.

    A finished run may go on to more steps; a warning then says what becomes of its learning rate.

    Args:
        config: settings of the trainer.
        inputs: what the run is made from; None: the caller does not say.
        state: of the checkpoint.
        step: of the checkpoint.
        at: the checkpoint's folder, for messages.

    Raises:
        TrainingError: something differs; the message names all of it.
    """
    current = _as_json(dataclasses.asdict(config))
    # A setting that the run's version did not know had its default's effect.
    saved = {**_as_json(dataclasses.asdict(TrainConfig())), **state["config"]}
    extended = step == saved["steps"] < config.steps
    free = (*FREE, "steps") if extended or config.schedule == "constant" else FREE
    changes = [f"{k} {saved[k]} -> {current[k]}" for k in current if k not in free and current[k] != saved[k]]
    if changes:
        hint = ""
        if current["steps"] != saved["steps"] and not extended:
            hint = f"; only a run that has finished its {saved['steps']} steps can go on to more"
        raise TrainingError(
            f"{at} was trained with other settings ({', '.join(changes)}); use those, or another folder{hint}"
        )
    before = state.get("inputs")
    if inputs is None:
        pass
    elif before is None:
        logger.warning("%s does not say what it was made from, so other data or settings go unnoticed", at)
    elif differing := inputs.differences(before):
        raise TrainingError(f"{at} was made from other inputs ({'; '.join(differing)}); use those, or another folder")
    if extended and config.schedule != "constant":
        logger.warning(
            "%s has finished its %d steps, after which its %s schedule had brought the learning rate to zero. It goes "
            "on to %d steps with the schedule of a run of that length, so the learning rate rises again; the result is "
            "not that of one run of %d steps.",
            at, step, config.schedule, config.steps, config.steps,
        )  # fmt: skip


def _plain(value: Any) -> bool:
    """Whether a value is kept as it is."""
    if isinstance(value, str | int | float | bool | None):
        return True
    return isinstance(value, list | tuple) and all(_plain(item) for item in value)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, nn.Module):
        for name, tensor in sorted(value.state_dict().items()):
            flat = tensor.detach().flatten()
            digest.update(f"{name} {list(tensor.shape)}".encode())
            _update(digest, flat[:: max(1, len(flat) // SAMPLED)].cpu())
    elif isinstance(value, Tensor):
        # Floats as fp32: a half-precision tensor has the same numbers there.
        value = value.detach().cpu()
        _update(digest, (value.float() if value.is_floating_point() else value).numpy())
    elif isinstance(value, Image.Image):
        _update(digest, np.asarray(value))
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str} {list(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif _plain(value):
        digest.update(json.dumps(value).encode())
    elif isinstance(value, bytes):
        digest.update(value)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            digest.update(str(key).encode())
            _update(digest, value[key])
    elif isinstance(value, Sequence):
        digest.update(str(len(value)).encode())
        for item in value:
            _update(digest, item)
    else:
        raise TypeError(f"inputs of a run are settings, data and models; got {type(value).__name__}")
