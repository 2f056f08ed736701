"""Typed settings from YAML files, strictly: an unknown key or a wrong type is an error that names its place.

Free of torch, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from .files import read_text
from .hub import PACKAGES

T = TypeVar("T")


def load_settings(cls: type[T], source: str | Path, *, task: str) -> T:
    """Read settings of class ``cls`` from a YAML file or a shipped one by name ("nano").

    Raises:
        FileNotFoundError: there is no such file or name; the message lists the names.
        ValueError: the file is not YAML, or has an unknown key or a wrong value.
    """
    folder = PACKAGES / "configs" / task
    shipped = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    if str(source) in shipped:
        text = shipped[str(source)].read_text(encoding="utf-8")
    elif Path(source).is_file():
        text = read_text(source)
    else:
        raise FileNotFoundError(f"there is no settings file {source}; shipped are: {', '.join(sorted(shipped))}")
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    return _build(cls, values, str(source))


def _build(cls: type[T], values: Any, where: str) -> T:
    """An instance of the dataclass ``cls`` from plain values, strictly."""
    return cls(**_arguments(cls, values, where))


def _arguments(cls: type, values: Any, where: str) -> dict[str, Any]:
    """What ``values`` set, by name and in the types of ``cls``; a nested group changes that group's own default."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must hold settings by name, got {values!r}")
    hints = typing.get_type_hints(cls)
    factories: dict[str, Any] = {field.name: field.default_factory for field in dataclasses.fields(cls)}
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(hints)}"
            raise ValueError(f"{where} has the unknown setting {name!r}; {hint}")
        place = f"{where}: {name}"
        if dataclasses.is_dataclass(hints[name]) and factories[name] is not dataclasses.MISSING:
            nested = _arguments(typing.cast(type, hints[name]), value, place)
            arguments[name] = dataclasses.replace(factories[name](), **nested)
        else:
            arguments[name] = _value(hints[name], value, place)
    return arguments


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
