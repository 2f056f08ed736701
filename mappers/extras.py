"""Packages that only some capabilities need: the extras of the installation, such as ``mapfield[audio]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Extra = Literal["app", "audio", "editing", "fields"]
EXTRAS: dict[Extra, tuple[str, ...]] = {
    "app": ("gradio", "skimage"),
    "audio": ("soundfile", "soxr"),
    "editing": ("open_clip",),
    "fields": ("skimage", "trimesh", "zstandard"),
}
"""Modules of each extra, by its name in ``pyproject.toml``."""


class MissingExtraError(RuntimeError):
    """A package of an extra is not installed; the message names the extra."""


@contextmanager
def extra(name: Extra) -> Iterator[None]:
    """Imports inside this block may be missing: the error then names the extra to install.

    Raises:
        MissingExtraError: a module of this extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in EXTRAS[name]:
            raise
        raise MissingExtraError(
            f"{error.name} is not installed; install mapfield[{name}]: python -m pip install 'mapfield[{name}]'"
            f" (in a copy of the repository '.[{name}]')"
        ) from error
