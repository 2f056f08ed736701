"""Trains a codec: ``python -m nerf.compression.train pictures32 --data DIR --output runs/codec --export``.

``DIR`` holds ``natural32/natural32.npz``. Labels with a number that five divides are held out for measuring.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from mappers.settings import load_settings
from mappers.trainer import FitReport, fit

from .encoder import EncodeConfig, Encoder
from .model import CodecModel
from .prior import PriorTask
from .recipes import Recipe

SHIPPED = Path(__file__).parents[1] / "nano"
HELD_OUT = 5
"""One label of so many is never trained on."""
COUNTED = 32
"""Data whose indices are counted for the index code."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a codec: the network that all data share, and the priors of its latent numbers."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Shipped settings (tiny, pictures32) or a YAML file."""
    data: Path
    """Folder of the training data; see the recipe's `data`."""
    output: Path
    """Folder of the run: checkpoints, metrics, and the model in `model/`."""
    steps: int | None = None
    """Optimizer steps; the recipe's own number when not given."""
    max_minutes: float | None = None
    """Stop, with a checkpoint, after this many minutes."""
    seed: int = 0
    """Seed of weights, batches and samples."""
    resume: bool = False
    """Go on from the newest checkpoint of the output folder."""
    threads: int = 1
    """CPU threads."""
    export: bool = False
    """Also write the model into the package, under the recipe's name."""


def main(arguments: Arguments) -> FitReport:
    """Train a codec and write it."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    recipe = load_settings(Recipe, arguments.recipe, task="compression")
    config = recipe.train.given(steps=arguments.steps, max_minutes=arguments.max_minutes, seed=arguments.seed)
    data = training_data(recipe.data, arguments.data)
    task = PriorTask(recipe.description, data, config, round_steps=recipe.round_steps)
    report = fit(task, config, output_dir=arguments.output, resume="auto" if arguments.resume else False)
    model = finished(task, data)
    model.save(arguments.output / "model")
    if arguments.export:
        model.save(SHIPPED / Path(arguments.recipe).stem)
    print(json.dumps({"recipe": arguments.recipe, "steps": report.steps, "id": model.id.hex(), **rates(task)}))
    return report


def finished(task: PriorTask, data: Float[Tensor, "n channels ..."]) -> CodecModel:
    """The model that a task has learned, with an index code counted on some of its training data."""
    task.finish_round()
    model = CodecModel.trained(task.description, task.network, task.amortiser, task.priors)
    counts = np.ones(task.description.candidate_bits + 1)
    chosen = list(data[:: max(1, len(data) // COUNTED)][:COUNTED])
    quick = EncodeConfig(steps=60, rounds=4, round_steps=5)
    rate = task.description.default_rate
    for indices in Encoder(model, rate, chosen, np.inf, quick).encode():
        for index in indices:
            counts[(index + 1).bit_length() - 1] += 1
    return model.with_counts(counts)


def rates(task: PriorTask) -> dict[str, list[float]]:
    """What the rates came to: bits of a patch, and beta."""
    information = task.priors.information.sum(1).tolist()
    return {"bits": [round(b, 1) for b in information], "beta": task.priors.log_beta.exp().tolist()}


def training_data(kind: str, folder: Path, *, held_out: bool = False) -> Float[Tensor, "n channels ..."]:
    """Values of a kind of data, -0.5..0.5; those to measure on with ``held_out``.

    Raises:
        FileNotFoundError: the folder has no such data.
        ValueError: the kind is unknown.
    """
    if kind != "natural32":
        raise ValueError(f"data must be natural32, got {kind!r}")
    path = folder / kind / f"{kind}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; give the folder that holds {kind}/ as --data")
    with np.load(path, allow_pickle=False) as file:
        chosen = (file["labels"] % HELD_OUT == 0) == held_out
        images = file["images"][chosen]
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5


if __name__ == "__main__":
    main(tyro.cli(Arguments, args=sys.argv[1:]))
