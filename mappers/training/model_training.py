"""Options that the commands which train a shipped model share: ``python -m PACKAGE.train... --output RUN --export``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from torch import nn

from ..options import RunLength
from .run_folder import run_folder
from .run_inputs import fingerprint
from .run_report import write_run_report
from .train_config import TrainConfig
from .trainer import FitReport, Task, fit


@dataclass(frozen=True, kw_only=True)
class ModelTraining(RunLength):
    """Options of a command that trains one model, and what they do; a command adds what it trains."""

    output: Path
    """Folder of the run: checkpoints, metrics, samples, and mostly the model."""
    threads: int = 1
    """CPU threads of each process; two small trainings at once use two cores best."""
    export: bool = False
    """Also write the model where the package looks for it."""

    def start(self) -> None:
        """Check the output folder, and set the threads and the seed; call it before weights are drawn.

        Raises:
            TrainingError, FileExistsError, OSError: as of `run_folder`.
        """
        run_folder(self.output, resume=self.resume)
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)

    def with_overrides(self, recipe: TrainConfig) -> TrainConfig:
        """The recipe with the options of the command line instead of its own.

        These commands have no option for the warm-up, so that of a run of fewer steps ends with the run.
        """
        warmup = None if self.steps is None else min(recipe.warmup_steps, self.steps)
        return recipe.with_overrides(
            steps=self.steps, warmup_steps=warmup, max_minutes=self.max_minutes, seed=self.seed
        )

    def fit(
        self, task: Task, config: TrainConfig, inputs: Mapping[str, Any], part: str = ".", workers: int | None = 0
    ) -> FitReport:
        """Train in the output folder, or in a part of it; see `trainer.fit` for ``inputs`` and ``workers``."""
        resume: Literal["auto", False] = "auto" if self.resume else False
        return fit(task, config, output_dir=self.output / part, resume=resume, inputs=inputs, workers=workers)

    def finish(self, report: FitReport, contents: Mapping[str, Any], *, settings: Any) -> None:
        """Write the run's report and the curve of its loss, and print its figures as one line of JSON.

        Args:
            report: what the trainer returned.
            contents: what this command reports besides; JSON values by name.
            settings: the configuration, a dataclass.
        """
        if PartialState().is_main_process:
            write_run_report(self.output, report, contents, settings=settings)
        print(json.dumps({**contents, "steps": report.steps, "stopped": report.stopped, **report.metrics}))


def frozen_parts(task: Task) -> dict[str, str]:
    """Fingerprints of the modules among a task's attributes that it does not train, or trains in part.

    Of the latter only the parameters count that stay as they are.
    """
    frozen = {}
    for name, module in vars(task).items():
        parameters = module.named_parameters() if isinstance(module, nn.Module) else ()
        fixed = {key: value for key, value in parameters if not value.requires_grad}
        if fixed:
            frozen[name] = fingerprint(fixed)
    return frozen
