"""Trains a mapper of codes: ``python -P -m nerf.conditional.train_mapper nano-chairs --output runs/chairs-mapper``."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mappers.code_mapper import BaseCodeMapper
from mappers.command_line import run_script
from mappers.training.model_training import ModelTraining
from mappers.training.trainer import FitReport

from .clip.scorer import DEFAULT, Scorer
from .mapping.caption_library import PAIRS, fit_ridge
from .mapping.caption_task import CaptionTask
from .mapping.render_task import MapperConfig, MapperTask
from .model import ConditionalModel, located

Method = Literal["mapper", "ridge"]


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train a mapper from CLIP's embeddings to displacements of a category field's codes."""

    model: Annotated[str, tyro.conf.Positional]
    """Category model: nano-chairs, nano-cars, or a folder."""
    method: Method = "mapper"
    """The paper's network, trained on captions and renders, or ridge regression on captions and pictures."""
    clip: str = DEFAULT
    """CLIP: folder, id of an embedded model, or hub id."""
    pairs: int = 4 * PAIRS
    """Method "ridge": number of captions and pictures to fit to."""
    settings: MapperConfig = dataclasses.field(default_factory=MapperConfig)


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> BaseCodeMapper:
    """Train the mapper and save it."""
    arguments.start()
    started = time.monotonic()
    model, scorer = ConditionalModel.load(arguments.model), Scorer.load(arguments.clip)
    contents: dict[str, float | str] = {"model": arguments.model, "clip": arguments.clip, "method": arguments.method}
    report, settings = FitReport(), arguments.settings
    if arguments.method == "ridge":
        mapper: BaseCodeMapper = fit_ridge(model, scorer, count=arguments.pairs, seed=arguments.seed)
    else:
        train = arguments.with_overrides(settings.train)
        settings = dataclasses.replace(settings, train=train)
        task = MapperTask(model, scorer, settings)
        first = dataclasses.replace(arguments.settings.library, seed=arguments.seed)
        inputs = {"model": model.content, "clip": scorer.space, "settings": arguments.settings}
        arguments.fit(CaptionTask(task), first, inputs, "library")
        report = arguments.fit(task, train, inputs)
        mapper = task.mapper.cpu().eval()
        report.metrics |= {
            f"val/{name}": value for name, value in task.validate({"mapper": mapper}, report.steps).items()
        }
    contents["whole_seconds"] = round(time.monotonic() - started, 1)
    folders = [arguments.output] + ([located(arguments.model)] if arguments.export else [])
    for folder in folders:
        mapper.save_pretrained(folder / arguments.method)
    arguments.finish(report, contents, settings=settings)
    return mapper


if __name__ == "__main__":
    raise SystemExit(run_script(main))
