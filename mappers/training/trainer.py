"""The training loop of every capability: a :class:`Task` says what to train, :func:`fit` trains it.

The loop runs unchanged on a laptop CPU and under ``accelerate launch`` with any number of processes. All
randomness is keyed by (seed, step, global sample index) (:mod:`mappers.training.draws`), so a resumed run equals an
uninterrupted one bit for bit on a CPU, and N processes give the weights of one with the same global batch. How the
processes share the model is :mod:`mappers.training.sharding`'s part.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..files import replacing
from . import checkpoints
from .draws import Draws, key
from .malloc import keep_freed_memory
from .monitoring import MetricWindow, TrainingError, catch_signals, trackers
from .run_inputs import RunInputs, check_same_run
from .sharding import SharedModel, accelerator_for, rounds
from .train_config import TrainConfig, learning_rate
from .workers import batches_of

Validation = Mapping[str, float | Image.Image]
Prepared = Mapping[str, Callable[..., Any]]
"""The trained modules as a task calls them, by name: through whatever several processes need around them."""


class Task(Protocol):
    """What :func:`fit` trains."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules to train and to save, by name. Everything else stays frozen."""
        ...

    @property
    def batch(self) -> Callable[[Draws], Any]:
        """A method ``batch(draws)`` gives the data of the samples ``draws.indices`` of step ``draws.step``.

        It may be a :class:`~mappers.training.workers.Preparation` instead, which other processes can do ahead.
        """
        ...

    def loss(self, modules: Prepared, batch: Any, draws: Draws) -> dict[str, Tensor]:
        """The mean ``loss`` over the samples, and any further scalars to log.

        Call ``modules`` here, not your own: several processes learn together only through these calls.
        """
        ...


@runtime_checkable
class Validates(Protocol):
    """A task that also measures itself, on every process and without gradients."""

    def validate(self, modules: Prepared, step: int) -> Validation:
        """Figures to log and pictures to save under ``samples/``; the task's own modules hold whole weights here.

        Among the figures ``loss`` decides, with ``patience``, when to stop.
        """
        ...


@runtime_checkable
class BeginsStep(Protocol):
    """A task with state of its own that changes between steps, such as an occupancy grid or a pool of hard examples."""

    def begin_step(self, modules: Prepared, draws: Draws) -> None:
        """Change that state, before the step's first batch; called once a step, without gradients.

        ``draws.indices`` are those of the whole step, so every process draws the same numbers.
        """
        ...


@runtime_checkable
class AfterBackward(Protocol):
    """A task with state that a batch's results change: parameters outside its modules, or a pool of hard examples."""

    def after_backward(self, batch: Any, draws: Draws) -> None:
        """Use the gradients of the micro-batch, and what `loss` noted in it; called after its backward pass."""
        ...


@runtime_checkable
class Rates(Protocol):
    """A task whose parameters learn at different speeds (AdamW only)."""

    @property
    def rates(self) -> Mapping[str, float]:
        """Learning rates relative to the configuration's, by prefix of "module.parameter"; 1 for the others."""
        ...


@dataclass
class FitReport:
    """How a run went. ``seconds`` counts this call only, ``steps`` the whole run."""

    steps: int = 0
    seconds: float = 0.0
    stopped: Literal["steps", "time", "signal", "patience"] = "steps"
    losses: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


def fit(
    task: Task,
    config: TrainConfig,
    *,
    output_dir: Path | None = None,
    resume: bool | Literal["auto"] = False,
    inputs: Mapping[str, Any] | None = None,
    workers: int | None = 0,
) -> FitReport:
    """Train ``task.modules`` in place.

    Args:
        task: what to train.
        config: how.
        output_dir: where ``checkpoints/``, ``metrics.jsonl`` and ``samples/`` go; None writes nothing.
        resume: go on from the newest checkpoint of ``output_dir``; "auto" starts anew when there is none.
        inputs: what the run is made from besides ``config``: settings, data and frozen models, as `RunInputs.of` takes
            them. Checkpoints hold a description of them, and a run that resumes must be given the same.
        workers: processes that prepare batches ahead, if the task's ``batch`` is a `Preparation`; None: as many as
            there are cores to spare. The batches are the same.

    Returns:
        The report. The modules are plain again afterwards; with ``config.ema`` they hold the averaged weights.

    Raises:
        TrainingError: the loss is no longer finite; settings do not fit the processes or the device, or settings or
            inputs are not those of the run to resume.
        CheckpointError: a checkpoint cannot be written or read.
    """
    run = _Run(task, config, output_dir, None if inputs is None else RunInputs.of(inputs), workers)
    with torch.random.fork_rng(), run.open():
        if resume:
            run.resume(required=resume != "auto")
        elif run.checkpoint_dir and checkpoints.steps(run.checkpoint_dir):
            raise TrainingError(f"{output_dir} already holds a run; resume it or choose another output folder")
        return run.train()


class _Run:
    """State of one call of :func:`fit`."""

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        output_dir: Path | None,
        inputs: RunInputs | None,
        workers: int | None,
    ):
        self.task, self.config, self.output_dir = task, config, output_dir
        self.inputs, self.workers = inputs, workers
        self.checkpoint_dir = output_dir / "checkpoints" if output_dir else None
        self.trackers = trackers(config, output_dir)
        self.accelerator = accelerator_for(config, self.trackers, output_dir)
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        self.rounds = rounds(config, self.accelerator)
        rates = task.rates if isinstance(task, Rates) else {}
        self.shared = SharedModel(self.accelerator, task.modules, config, rates)
        self.report = FitReport()
        self.step = 0
        self.saved_step = -1
        self.validation_losses: list[float] = []
        self.interrupted = False

    @contextmanager
    def open(self) -> Iterator[_Run]:
        """Output folder, signals and trackers; the last two are put back as they were at the end."""
        if self.output_dir:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        with catch_signals(self._interrupt):
            if self.trackers:
                self.accelerator.init_trackers("mapfield")
            try:
                yield self
            finally:
                if self.trackers:
                    self.accelerator.end_training()

    def _interrupt(self) -> None:
        self.interrupted = True

    def train(self) -> FitReport:
        start = time.monotonic()
        window = MetricWindow(start)
        steps = range(self.step, self.config.steps)
        batches = batches_of(
            self.task.batch, self.config.seed, self.rounds, steps, self.workers, self.accelerator.device
        )
        first = self.step
        total = self.config.steps
        quiet = None if self.accelerator.is_main_process else True
        bar = tqdm(total=total, initial=first, unit="step", disable=quiet)
        if self._no_gain():
            self.report.stopped = "patience"
        with bar:
            while self.step < total and self.report.stopped != "patience":
                values = self._optimize(batches)
                self.step += 1
                window.add(values)
                bar.update()
                bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()})
                if self.step % self.config.log_every == 0 or self.step == total:
                    self._log(window.close(self.step, learning_rate(self.config, self.step - 1)))
                if self.config.validate_every and self.step % self.config.validate_every == 0:
                    self._validate()
                reason = self._stop_reason(time.monotonic() - start)
                if reason:
                    self.report.stopped = reason
                    break
                if self.config.save_every and self.step % self.config.save_every == 0:
                    self.save()
        self.report.steps, self.report.seconds = self.step, time.monotonic() - start
        if self.step > first:
            self.save()
        self.shared.use_average()
        if self.config.validate_every and self.step % self.config.validate_every:
            self._validate()
        self.shared.release()
        return self.report

    def _optimize(self, batches: Iterator[Any]) -> dict[str, float]:
        """One optimizer step; returns the mean of what the micro-batches reported."""
        config, accelerator, shared = self.config, self.accelerator, self.shared
        for group in shared.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step) * group.get("rate", 1.0)
        if isinstance(self.task, BeginsStep):
            with torch.no_grad(), shared.autocast():
                step_draws = Draws(config.seed, self.step, range(config.batch_size), accelerator.device)
                self.task.begin_step(shared.calls, step_draws)
        sums: dict[str, float] = {}
        for indices in self.rounds:
            draws = Draws(config.seed, self.step, indices, accelerator.device)
            torch.manual_seed(key(config.seed, self.step, indices[0], "module"))  # a module's own dropout resumes too
            batch = next(batches)
            with accelerator.accumulate(shared.prepared):
                with shared.autocast():
                    losses = self.task.loss(shared.calls, batch, draws)
                values = self._mean_over_processes({k: v.detach() for k, v in losses.items()})
                self._check_finite(values["loss"])
                accelerator.backward(losses["loss"])
                if isinstance(self.task, AfterBackward):
                    with torch.no_grad():
                        self.task.after_backward(batch, draws)
                if config.clip_norm and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(shared.parameters, config.clip_norm)
                shared.optimizer.step()
                shared.optimizer.zero_grad()
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / config.gradient_accumulation
        if config.ema:
            # The usual ramp: early on a long average would mostly remember the random start.
            shared.update_average(min(config.ema, (1 + self.step) / (10 + self.step)))
        return sums

    def _mean_over_processes(self, values: dict[str, Tensor]) -> dict[str, float]:
        stacked = torch.stack([value.float() for value in values.values()])
        if self.accelerator.num_processes > 1:
            stacked = cast(Tensor, self.accelerator.reduce(stacked, reduction="mean"))
        return dict(zip(values, stacked.tolist(), strict=True))

    def _check_finite(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        saved = checkpoints.steps(self.checkpoint_dir) if self.checkpoint_dir else []
        kept = f"the checkpoint of step {saved[-1]} is kept" if saved else "no checkpoint was written yet"
        raise TrainingError(
            f"the loss became {loss} at step {self.step}; {kept}; lower learning_rate"
            f" (now {learning_rate(self.config, self.step):g}), set clip_norm, or use precision fp32"
        )

    def _stop_reason(self, seconds: float) -> Literal["time", "signal", "patience"] | None:
        """Whether to stop before the last step."""
        minutes = self.config.max_minutes
        late = minutes is not None and seconds >= 60 * minutes
        interrupted, idle, late = self._in_any_process(self.interrupted, self._no_gain(), late)
        if interrupted or self.step == self.config.steps:
            return "signal" if interrupted else None
        return "patience" if idle else "time" if late else None

    def _no_gain(self) -> bool:
        """Whether the last ``patience`` validations brought nothing."""
        losses, patience = self.validation_losses, self.config.patience
        return patience is not None and bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience

    def _in_any_process(self, *flags: bool) -> list[bool]:
        """Flags on which the processes agree, or one would wait for the others forever."""
        if self.accelerator.num_processes == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.float32, device=self.accelerator.device)
        return (cast(Tensor, self.accelerator.reduce(counts, reduction="sum")) > 0).tolist()

    def _log(self, values: dict[str, float]) -> None:
        self.report.losses.append((self.step, values["train/loss"]))
        if self.trackers:
            self.accelerator.log(values, step=self.step)
        if self.output_dir and self.accelerator.is_main_process:
            with open(self.output_dir / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **values}) + "\n")

    def _validate(self) -> None:
        if not isinstance(self.task, Validates):
            return
        with self.shared.averaged():
            result = self.task.validate(self.shared.calls, self.step)
        values = {f"val/{k}": float(v) for k, v in result.items() if not isinstance(v, Image.Image)}
        self.report.metrics.update(values)
        if self.config.patience is not None:
            if "val/loss" not in values:
                raise TrainingError(
                    "patience needs a validation that gives a loss, which this task has not; leave it out"
                )
            self.validation_losses.append(values["val/loss"])
        if self.trackers:
            self.accelerator.log(values, step=self.step)
        if not (self.output_dir and self.accelerator.is_main_process):
            return
        with open(self.output_dir / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, **values}) + "\n")
        (self.output_dir / "samples").mkdir(exist_ok=True)
        for name, picture in result.items():
            if isinstance(picture, Image.Image):
                with replacing(self.output_dir / "samples" / f"step_{self.step:06d}_{name}.png") as temporary:
                    picture.save(temporary)

    def save(self) -> None:
        """Write a checkpoint; every process takes part, the main one writes."""
        if self.checkpoint_dir is None or self.saved_step == self.step:
            return
        if any(self._in_any_process(not self.shared.finite())):
            self._check_finite(math.nan)
        weights, average, moments = self.shared.weights(), self.shared.full_average(), self.shared.optimizer_state()
        if self.accelerator.is_main_process:
            tensors, groups = checkpoints.flatten_optimizer(moments)
            scaler = self.accelerator.scaler
            state = {
                "config": dataclasses.asdict(self.config),
                "inputs": None if self.inputs is None else self.inputs.values,
                "optimizer_groups": groups,
                "scaler": scaler.state_dict() if scaler else None,
                "validation_losses": self.validation_losses,
            }
            checkpoint = checkpoints.Checkpoint(self.step, weights, tensors, average, state)
            checkpoints.save(self.checkpoint_dir, checkpoint, self.config.keep_last)
        self.saved_step = self.step
        self.accelerator.wait_for_everyone()

    def resume(self, *, required: bool) -> None:
        """Go on from the newest checkpoint."""
        if self.checkpoint_dir is None:
            raise TrainingError("resume needs the output folder of the run to go on from")
        if not required and not checkpoints.steps(self.checkpoint_dir):
            return
        loaded = checkpoints.load(self.checkpoint_dir)
        check_same_run(self.config, self.inputs, loaded.state, loaded.step, self.checkpoint_dir)
        try:
            moments = checkpoints.unflatten_optimizer(loaded.optimizer, loaded.state["optimizer_groups"])
            self.shared.load(loaded.weights, moments, loaded.ema)
        except (RuntimeError, KeyError, ValueError) as error:
            raise checkpoints.CheckpointError(
                f"{self.checkpoint_dir} holds weights of another shape or name ({error}); "
                "resume with the model settings of that run, or start in another folder"
            ) from error
        if self.accelerator.scaler and loaded.state["scaler"]:
            self.accelerator.scaler.load_state_dict(loaded.state["scaler"])
        self.validation_losses = list(loaded.state.get("validation_losses", []))
        self.step = self.saved_step = loaded.step
        self._forget_after(loaded.step)

    def _forget_after(self, step: int) -> None:
        """Drop metrics that the interrupted run logged after its last checkpoint, and read the losses before."""
        assert self.output_dir is not None
        path = self.output_dir / "metrics.jsonl"
        if not path.exists():
            return
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        rows = [row for row in rows if row["step"] <= step]
        self.report.losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
        if self.accelerator.is_main_process:
            with replacing(path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
