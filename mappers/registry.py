"""Names of mapper classes, which saved files store so that the right class reads them."""

from __future__ import annotations

from typing import Any

from torch import nn

_MAPPERS: dict[str, type[nn.Module]] = {}


def register_mapper(name: str, cls: type[nn.Module]) -> None:
    """Make ``cls`` loadable as ``name``.

    Raises:
        ValueError: another class has that name.
    """
    if _MAPPERS.get(name, cls) is not cls:
        raise ValueError(f"a mapper named {name!r} exists already ({_MAPPERS[name].__name__}); choose another name")
    _MAPPERS[name] = cls


def mapper_class(name: str) -> type[nn.Module]:
    """The class registered as ``name``.

    Raises:
        ValueError: there is none; the message lists what exists.
    """
    if name not in _MAPPERS:
        raise ValueError(f"unknown mapper {name!r}; known are {', '.join(sorted(_MAPPERS))}")
    return _MAPPERS[name]


def mapper_name(mapper: nn.Module) -> str:
    """The name under which the class of ``mapper`` is registered."""
    return next(name for name, cls in _MAPPERS.items() if type(mapper) is cls)


def mapper_config(mapper: Any) -> dict[str, Any]:
    """The arguments that ``mapper`` was built with."""
    return {name: value for name, value in dict(mapper.config).items() if not name.startswith("_")}
