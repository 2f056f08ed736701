"""What works with which class of model: the list of ``mapfield models --supported``, and of the manual."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .conventions import CONVENTIONS
from .objectives import OBJECTIVES


class Supported(NamedTuple):
    """What works with a class of network that reads text."""

    network: str
    """The class."""
    models: str
    """Published models that have it."""
    mode: Literal["exact", "bypass"]
    """exact: each layer reads contexts of its own. bypass: the word's rows are moved before each layer reads them."""
    training: bool
    """Whether `pipelines.personalize` learns words on it."""
    regions: bool
    """Whether a word can be confined to a part of the picture."""


READS_CONTEXTS = (
    Supported("UNet2DConditionModel", "Stable Diffusion 1, 2 and XL", "exact", training=True, regions=True),
    Supported("ControlNetModel", "ControlNets of Stable Diffusion 1, 2 and XL", "exact", training=False, regions=True),
    Supported("UNetMotionModel", "AnimateDiff", "exact", training=False, regions=False),
)


def supported() -> list[Supported]:
    """All classes that words plug into."""
    trained = {objective.network for objective in OBJECTIVES.values()}
    moved = [
        Supported(name, convention.models, "bypass", training=name in trained, regions=False)
        for name, convention in CONVENTIONS.items()
    ]
    return [*READS_CONTEXTS, *moved]


def table() -> list[list[str]]:
    """The same as rows of a table, below `COLUMNS`."""
    return [[s.network, s.models, s.mode, *("yes" if is_so else "no" for is_so in s[3:])] for s in supported()]


COLUMNS = ["class", "models", "words", "training", "regions"]
