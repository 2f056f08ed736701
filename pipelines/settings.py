"""Typed settings of the public functions, free of torch so that ``--help`` answers at once.

A settings class is filled from a YAML file by `load_settings` and changed from the command line by tyro.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from mappers.train_config import TrainConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PersonalizeConfig:
    """How `pipelines.personalize` learns a word."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=160, batch_size=8, learning_rate=2e-3, precision="fp32", save_every=100, log_every=10
        )
    )
    """The shared trainer's settings."""
    method: Literal["neti", "textual-inversion"] = "neti"
    """NeTI's space-time mapper, or one plain vector to compare with."""
    bypass: bool = True
    """NeTI: also learn a residual after the text encoder."""
    positional_encoding: bool = True
    """NeTI: encode timestep and layer by random Fourier features."""
    init: Literal["random", "category"] = "category"
    """NeTI: start in a random direction, as the official code does, or exactly at the category word."""
    resolution: int | None = None
    """Pixels of the training pictures; none takes the model's own size."""
    flip: float = 0.5
    """Probability of mirroring a training picture; 0 for lettering and other things with a handedness."""
    shared_points: int = 2
    """Samples of a batch that share a timestep and a sentence; above 1 saves text-encoder work."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must be in 0..1, got {self.flip}")
        if self.resolution is not None and self.resolution < 16:
            raise ValueError(f"resolution must be at least 16 pixels, got {self.resolution}")
        if self.shared_points < 1:
            raise ValueError(f"shared_points must be at least 1, got {self.shared_points}")


def load_settings(cls: type[T], source: str | Path, *, task: str) -> T:
    """Read settings of class ``cls`` from a YAML file or a shipped one by name ("nano").

    Raises:
        FileNotFoundError: there is no such file or name; the message lists the names.
        ValueError: the file is not YAML, or has an unknown key or a wrong value.
    """
    folder = files("configs") / task
    shipped = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    if str(source) in shipped:
        text = shipped[str(source)].read_text(encoding="utf-8")
    elif Path(source).is_file():
        text = Path(source).read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(f"there is no settings file {source}; shipped are: {', '.join(sorted(shipped))}")
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    return _build(cls, values, str(source))


def _build(cls: type[T], values: Any, where: str) -> T:
    """An instance of the dataclass ``cls`` from plain values, strictly."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must hold settings by name, got {values!r}")
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(hints)}"
            raise ValueError(f"{where} has the unknown setting {name!r}; {hint}")
        arguments[name] = _value(hints[name], value, f"{where}: {name}")
    return cls(**arguments)


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or a sentence that says why not."""
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _value(next(option for option in options if option is not type(None)), value, where)
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{where} must be one of {', '.join(map(str, options))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, got {value!r}")
        return tuple(_value(options[0], entry, where) for entry in value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-3, without a point, as text
        try:
            return float(value)
        except ValueError:
            pass
    right = isinstance(value, (int, float) if hint is float else hint) and not (
        isinstance(value, bool) and hint is not bool
    )
    if not right:
        raise ValueError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return hint(value)
