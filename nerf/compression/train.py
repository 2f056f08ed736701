"""Trains a codec model: ``python -P -m nerf.compression.train photos --data DIR --output runs/codec --export``.

``DIR`` has the folders that :mod:`nerf.compression.learning.datasets` reads; what that holds out is not trained on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from mappers.command_line import run_script
from mappers.training.model_training import ModelTraining
from mappers.training.trainer import FitReport
from mappers.yaml_settings import load_settings

from .encoder import EncodeConfig, Encoder
from .learning.crops import Crops
from .learning.datasets import training_data
from .learning.prior_task import PriorTask
from .learning.settings import Recipe
from .model.codec import CodecModel

SHIPPED = Path(__file__).parents[1] / "nano"
COUNTED = 32
"""Number of patches whose indices are counted for the index code."""
ROOM = 1.2
"""Bits of all indices relative to the information of a rate."""


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train a codec model: the network that all data share, and the priors of latent numbers."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Shipped settings (tiny, pictures32, photos, sounds, videos, volumes) or a YAML file."""
    data: Path
    """Folder of the training data; `data` of the recipe names the folder below it."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> FitReport:
    """Train a codec model and write it."""
    arguments.start()
    recipe = load_settings(Recipe, arguments.recipe, task="compression")
    config = arguments.with_overrides(recipe.train)
    wholes = training_data(recipe.data, arguments.data)
    if recipe.crop is None:
        data = torch.stack(wholes)
    else:
        data = Crops(recipe.description.modality, wholes, recipe.crop, largest_shrink=recipe.largest_shrink)
    task = PriorTask(recipe.description, data, config, round_steps=recipe.round_steps)
    report = arguments.fit(task, config, {"recipe": recipe, "data": wholes})
    model = finished_model(task, data)
    model.save(arguments.output / "model")
    if arguments.export:
        model.save(SHIPPED / Path(arguments.recipe).stem)
    contents = {"recipe": arguments.recipe, "id": model.id.hex(), **rates(task)}
    arguments.finish(report, contents, settings=dataclasses.replace(recipe, train=config))
    return report


def finished_model(task: PriorTask, data: Float[Tensor, "n channels ..."] | Crops) -> CodecModel:
    """The trained model of a task, with an index code from indices counted on some of the training data."""
    task.finish_round()
    model = CodecModel.trained(task.description, task.network, task.amortiser, task.priors)
    few = max(1, COUNTED // task.tiling.rows[0])
    chosen = list(data.sample(few) if isinstance(data, Crops) else data[:: max(1, len(data) // few)][:few])
    quick = EncodeConfig(steps=60, rounds=4, round_steps=5)
    rate = task.description.default_rate
    # First for all blocks. Then the cost of indices is known, and with it the blocks that fit a budget, as in use.
    for room in (np.inf, ROOM * task.description.budgets[rate] * few * task.tiling.rows[0]):
        counts = np.ones(task.description.candidate_bits + 1)
        for coded in Encoder(model, rate, chosen, room, quick).encode():
            for index in coded.indices:
                counts[(index + 1).bit_length() - 1] += 1
        model = model.with_counts(counts)
    return model


def rates(task: PriorTask) -> dict[str, list[float]]:
    """Of every rate: information of a patch in bits, and beta."""
    bits = (task.priors.spent / task.tiling.rows[0]).tolist()
    return {"bits": [round(b, 1) for b in bits], "beta": task.priors.log_beta.exp().tolist()}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
