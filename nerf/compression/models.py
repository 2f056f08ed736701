"""Codec models of every method, by name or folder; the model that a file is written with decides its method."""

from __future__ import annotations

from .container.bitstream import Container
from .description import Modality
from .grids.model import GridsModel, load_grids
from .model.codec import CodecModel, load_model
from .model.stored import WEIGHTS, folder_of
from .overview import model_name

AnyModel = CodecModel | GridsModel


def load_any(name: str) -> AnyModel:
    """A shipped model by name, or one in a folder.

    Raises:
        FileNotFoundError: there is no such model; the message lists the shipped ones.
        CodecModelError: the model is damaged.
    """
    folder = folder_of(name)
    return load_grids(folder) if (folder / WEIGHTS["grids"]).is_file() else load_model(name)


def modality_of(model: AnyModel) -> Modality:
    """What a model is for."""
    return "picture" if isinstance(model, GridsModel) else model.description.modality


def model_of(container: Container, model: str | None) -> AnyModel:
    """The model that a file was written with: the named one, or the shipped one with the id in the file.

    Raises:
        FileNotFoundError, WrongModelError: there is no such model, or no shipped one has that id.
    """
    return load_any(model_name(container, model))
