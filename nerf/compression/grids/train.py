"""Trains a grids model: ``python -P -m nerf.compression.grids.train photos --data DIR --output runs/grids --export``.

``DIR`` has the folders that :mod:`nerf.compression.learning.datasets` reads; what that holds out is only measured on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from mappers.command_line import run_script
from mappers.training import checkpoints
from mappers.training.model_training import ModelTraining
from mappers.training.trainer import FitReport
from mappers.yaml_settings import load_settings

from ..learning.datasets import training_data
from .model import GridsModel
from .training import GridsRecipe, GridsTask

SHIPPED = Path(__file__).parents[2] / "nano"


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train a grids model: transforms, context networks and restoration of all pictures and rates."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Shipped settings (photos, photos_finish) or a YAML file."""
    data: Path
    """Folder of the training data; `data` of the recipe names the folder below it."""
    start_from: Path | None = None
    """Folder of an earlier run or of a model: training starts from its weights, with a schedule of its own."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> FitReport:
    """Train a grids model and write it."""
    arguments.start()
    recipe = load_settings(GridsRecipe, arguments.recipe, task="grids")
    wholes, held_out = (training_data(recipe.data, arguments.data, held_out=part) for part in (False, True))
    task = GridsTask(recipe, wholes, held_out)
    start = {}
    if arguments.start_from is not None:
        start = _weights(arguments.start_from)
        task.network.load_state_dict(start)
    inputs = {"recipe": recipe, "data": wholes, "start": start}
    config = arguments.with_overrides(recipe.train)
    report = arguments.fit(task, config, inputs)
    model = GridsModel.trained(task.network, recipe.widths)
    model.save(arguments.output / "model")
    if arguments.export:
        model.save(SHIPPED / f"grids-{recipe.data}")
    contents = {"recipe": arguments.recipe, "id": model.id.hex()}
    arguments.finish(report, contents, settings=dataclasses.replace(recipe, train=config))
    return report


def _weights(folder: Path) -> dict[str, Tensor]:
    """The newest weights of a run, or those of a model."""
    if not (folder / "checkpoints").is_dir():
        return dict(GridsModel.load(folder).network.state_dict())
    newest = checkpoints.load(folder / "checkpoints").weights
    return {name.removeprefix("network."): value for name, value in newest.items()}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
