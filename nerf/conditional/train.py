"""Trains a category field: ``python -m nerf.conditional.train chairs --output runs/chairs --export``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from mappers.settings import load_settings
from mappers.trainer import FitReport, fit

from .adversarial import AdversarialTask
from .model import SHIPPED
from .settings import CategoryConfig
from .task import DecoderTask, measured

FINAL = 64
"""Pictures (or patches) of each kind that a finished model is measured on."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a category field on a procedural family."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Shipped settings (chairs, cars, chairs-gan) or a YAML file."""
    output: Path
    """Folder of the run: checkpoints, metrics, and the model in `model/`."""
    steps: int | None = None
    """Optimizer steps; the recipe's own number when not given."""
    max_minutes: float | None = None
    """Stop, with a checkpoint, after this many minutes."""
    seed: int = 0
    """Seed of weights, codes and batches."""
    resume: bool = False
    """Go on from the newest checkpoint of the output folder."""
    threads: int = 1
    """CPU threads."""
    export: bool = False
    """Also write the model into the package, as nano-FAMILY."""


def main(arguments: Arguments) -> FitReport:
    """Train a category field, measure it, and write it."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    config = load_settings(CategoryConfig, arguments.recipe, task="conditional")
    given = config.train.given(steps=arguments.steps, max_minutes=arguments.max_minutes, seed=arguments.seed)
    config = dataclasses.replace(config, train=given)
    task = AdversarialTask(config) if config.objective == "gan" else DecoderTask(config)
    report = fit(task, config.train, output_dir=arguments.output, resume="auto" if arguments.resume else False)
    model = task.model()
    adversarial = isinstance(task, AdversarialTask)
    figures = task.logits(report.steps, FINAL) if adversarial else measured(model, config, FINAL)
    model.notes |= {"steps": report.steps, **{name: round(value, 2) for name, value in figures.items()}}
    model.save(arguments.output / "model")
    if arguments.export:
        model.save(SHIPPED / f"nano-{config.family}")
    print(json.dumps({"recipe": arguments.recipe, **model.notes}))
    return report


if __name__ == "__main__":
    main(tyro.cli(Arguments, args=sys.argv[1:]))
