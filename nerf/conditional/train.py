"""Trains a category field: ``python -P -m nerf.conditional.train chairs --output runs/chairs --export``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import tyro

from mappers.command_line import run_script
from mappers.training.model_training import ModelTraining
from mappers.training.trainer import FitReport
from mappers.yaml_settings import load_settings

from .decoder.adversarial import AdversarialTask
from .decoder.task import DecoderTask, measured
from .model import SHIPPED
from .settings import CategoryConfig

FINAL = 64
"""Pictures (objective "gan": patches) of each group that a finished model is measured on."""


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train a category field on a procedural family."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Shipped settings (chairs, cars, chairs-gan) or a YAML file."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> FitReport:
    """Train a category field, measure it, and save it."""
    arguments.start()
    config = load_settings(CategoryConfig, arguments.recipe, task="conditional")
    config = dataclasses.replace(config, train=arguments.with_overrides(config.train))
    task = AdversarialTask(config) if config.objective == "gan" else DecoderTask(config)
    report = arguments.fit(task, config.train, {"settings": config})
    model = task.model()
    adversarial = isinstance(task, AdversarialTask)
    figures = task.logits(report.steps, FINAL) if adversarial else measured(model, config, FINAL)
    model.notes |= {"steps": report.steps, **{name: round(value, 2) for name, value in figures.items()}}
    model.save(arguments.output / "model")
    if arguments.export:
        model.save(SHIPPED / f"nano-{config.family}")
    arguments.finish(report, {"recipe": arguments.recipe, **model.notes}, settings=config)
    return report


if __name__ == "__main__":
    raise SystemExit(run_script(main))
