"""Category models that visitors of the tab Edit may choose of, and editors of them that stay loaded."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from pipelines import EMBEDDED, embedded_models

if TYPE_CHECKING:
    from pipelines import Editor

logger = logging.getLogger(__name__)

MODEL_TYPE = "category field"
"""Type of the embedded models that can be edited."""
SHIPPED = tuple(model.id for model in EMBEDDED if model.type == MODEL_TYPE)
TRAINING = "python -P -m nerf.conditional.train chairs --output runs/chairs"


class CategoryError(ValueError):
    """A model of the list is not one; the message names it and the remedy."""


@dataclass(frozen=True)
class Category:
    """A model in the list."""

    name: str
    """What visitors and saved edits call it."""
    folder: Path
    family: str
    count: int
    """Objects that it was trained on."""


def found(given: Sequence[str] = ()) -> tuple[Category, ...]:
    """The models that are given; without any, those that are part of this installation. Torch is not imported.

    Args:
        given: ids of shipped models, and folders that training left.

    Raises:
        CategoryError: one is not there or damaged, or two have the same name.
    """
    shipped = {model.id: model.folder for model in embedded_models() if model.type == MODEL_TYPE}
    categories = [_read(name, shipped[name]) if name in shipped else _read(*_named(name)) for name in given]
    names = [category.name for category in categories]
    if len({*names}) < len(names):
        raise CategoryError(f"two category models have the same name ({', '.join(names)}); rename a folder")
    if given:
        return tuple(categories)
    for name, folder in shipped.items():
        try:
            categories.append(_read(name, folder))
        except CategoryError as error:  # the other tabs need none
            logger.warning("left out: %s", error)
    return tuple(categories)


def _named(given: str) -> tuple[str, Path]:
    """A folder, and what it is called: training leaves it as RUN/model."""
    folder = Path(given).expanduser().resolve()
    return folder.parent.name if folder.name == "model" else folder.name, folder


def _read(name: str, folder: Path) -> Category:
    if not folder.is_dir():
        raise CategoryError(f"{folder} is no category model, nor part of this installation; train one with {TRAINING}")
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8"))["family"]
        with safe_open(folder / "category.safetensors", "np") as file:
            (count, _) = file.get_slice("shape_codes").get_shape()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CategoryError(f"{folder} is not a whole category model ({error}); train one with {TRAINING}") from error
    return Category(name, folder, family, count)


def opened(category: Category) -> Editor:
    """An editor of a category; what it saves does not name a folder of this machine."""
    import pipelines

    editor = pipelines.edit_nerf(category.folder)
    editor.name = category.name
    return editor


class Editors:
    """Editors that stay loaded, for one request after the other.

    Args:
        most: how many; the one that was not used for the longest time goes.
    """

    def __init__(self, most: int = 2):
        self.most = most
        self._turn = threading.Lock()
        self._loaded: dict[str, Editor] = {}

    def has(self, name: str) -> bool:
        """Whether the editor of a category is loaded."""
        return name in self._loaded

    @contextmanager
    def at(self, category: Category, instance: int, session: Path | None = None) -> Iterator[Editor]:
        """An editor that nobody else uses meanwhile, at a training object or where a saved session is.

        Args:
            category: whose.
            instance: number of the training object, where there is no session.
            session: file to go on with; changes are written to it.

        Raises:
            FileNotFoundError, ValueError: the model, the object or the session is not one.
        """
        with self._turn:
            editor = self._loaded.pop(category.name, None) or opened(category)
            self._loaded[category.name] = editor
            while len(self._loaded) > self.most:
                self._loaded.pop(next(iter(self._loaded)))
            editor.session = None  # the last visitor's
            if session is None:
                editor.instance(instance)
            else:
                editor.load(session)
            editor.session = session
            yield editor
