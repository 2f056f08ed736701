"""The training loop of every capability: a :class:`Task` says what to train, :func:`fit` trains it.

The loop runs unchanged on a laptop CPU and under ``accelerate launch`` with any number of processes. All
randomness is keyed by (seed, step, global sample index) (:mod:`mappers.draws`), so a resumed run equals an
uninterrupted one bit for bit on a CPU, and N processes give the weights of one with the same global batch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from tqdm.auto import tqdm

from . import checkpoints
from .draws import Draws, key
from .monitoring import TrainingError, Window, catch_signals, trackers
from .muon import Muon, matrix_parameters
from .train_config import TrainConfig, learning_rate

Validation = Mapping[str, float | Image.Image]
_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Task(Protocol):
    """What :func:`fit` trains."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules to train and to save, by name. Everything else stays frozen."""
        ...

    def batch(self, draws: Draws) -> Any:
        """The data of the samples ``draws.indices`` of step ``draws.step``."""
        ...

    def loss(self, modules: Mapping[str, nn.Module], batch: Any, draws: Draws) -> dict[str, Tensor]:
        """The mean ``loss`` over the samples, and any further scalars to log.

        ``modules`` are the prepared ones (wrapped for several processes): call these, not your own.
        """
        ...


@runtime_checkable
class Validates(Protocol):
    """A task that also measures itself, on every process and without gradients."""

    def validate(self, modules: Mapping[str, nn.Module], step: int) -> Validation:
        """Figures to log and pictures to save under ``samples/``."""
        ...


@dataclass
class FitReport:
    """How a run went. ``seconds`` counts this call only, ``steps`` the whole run."""

    steps: int = 0
    seconds: float = 0.0
    stopped: Literal["steps", "time", "signal"] = "steps"
    losses: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


def fit(
    task: Task, config: TrainConfig, *, output_dir: Path | None = None, resume: bool | Literal["auto"] = False
) -> FitReport:
    """Train ``task.modules`` in place.

    Args:
        task: what to train.
        config: how.
        output_dir: where ``checkpoints/``, ``metrics.jsonl`` and ``samples/`` go; None writes nothing.
        resume: go on from the newest checkpoint of ``output_dir``; "auto" starts anew when there is none.

    Returns:
        The report. With ``config.ema`` the modules hold the averaged weights afterwards.

    Raises:
        TrainingError: the loss is no longer finite, or the settings do not fit the processes or the device.
        CheckpointError: a checkpoint cannot be written or read.
    """
    run = _Run(task, config, output_dir)
    with torch.random.fork_rng(), run.open():
        if resume:
            run.resume(required=resume != "auto")
        elif run.checkpoint_dir and checkpoints.steps(run.checkpoint_dir):
            raise TrainingError(f"{output_dir} already holds a run; resume it or choose another output folder")
        return run.train()


class _Run:
    """State of one call of :func:`fit`."""

    def __init__(self, task: Task, config: TrainConfig, output_dir: Path | None):
        self.task, self.config, self.output_dir = task, config, output_dir
        self.checkpoint_dir = output_dir / "checkpoints" if output_dir else None
        self.trackers = trackers(config, output_dir)
        self.accelerator = _accelerator(config, self.trackers, output_dir)
        self.micro_size = _micro_size(config, self.accelerator.num_processes)
        for module in task.modules.values():
            module.to(self.accelerator.device).train()
            if config.compile:
                module.compile()
        prepared = [self.accelerator.prepare(module) for module in task.modules.values()]
        self.modules: dict[str, nn.Module] = dict(zip(task.modules, prepared, strict=True))
        self.whole = nn.ModuleDict(self.modules)
        self.parameters = [p for p in self.whole.parameters() if p.requires_grad]
        self.optimizer = self.accelerator.prepare(_optimizer(self.whole, self.parameters, config))
        self.ema = [p.detach().clone() for p in self.parameters] if config.ema else []
        self.report = FitReport()
        self.step = 0
        self.saved_step = -1
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
        window = Window(start)
        first = self.step
        total = self.config.steps
        bar = tqdm(
            total=total,
            initial=first,
            unit="step",
            disable=None if self.accelerator.is_main_process else True,
        )
        with bar:
            while self.step < total:
                values = self._optimize()
                self.step += 1
                window.add(values)
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.4g}")
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
        self._use_average()
        if self.config.validate_every and self.step % self.config.validate_every:
            self._validate()
        return self.report

    def _optimize(self) -> dict[str, float]:
        """One optimizer step; returns the mean of what the micro-batches reported."""
        config, accelerator = self.config, self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        sums: dict[str, float] = {}
        for micro in range(config.gradient_accumulation):
            first = (micro * accelerator.num_processes + accelerator.process_index) * self.micro_size
            draws = Draws(config.seed, self.step, range(first, first + self.micro_size), accelerator.device)
            torch.manual_seed(key(config.seed, self.step, first, "module"))  # a module's own dropout resumes too
            batch = self.task.batch(draws)
            with accelerator.accumulate(*self.modules.values()):
                with accelerator.autocast():
                    losses = self.task.loss(self.modules, batch, draws)
                values = self._mean_over_processes({k: v.detach() for k, v in losses.items()})
                self._check_finite(values["loss"])
                accelerator.backward(losses["loss"])
                if config.clip_norm and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.parameters, config.clip_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / config.gradient_accumulation
        if self.ema and config.ema:
            # The usual ramp: early on a long average would mostly remember the random start.
            decay = min(config.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)
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

    def _stop_reason(self, seconds: float) -> Literal["time", "signal"] | None:
        """Whether to stop before the last step; processes agree, or one would wait for the others forever."""
        minutes = self.config.max_minutes
        flags = torch.tensor([self.interrupted, minutes is not None and seconds >= 60 * minutes], dtype=torch.float32)
        if self.accelerator.num_processes > 1:
            flags = cast(Tensor, self.accelerator.reduce(flags.to(self.accelerator.device), reduction="sum"))
        interrupted, late = (flags > 0).tolist()
        return "signal" if interrupted else "time" if late and self.step < self.config.steps else None

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
        self.whole.eval()
        with torch.no_grad(), self._averaged():
            result = self.task.validate(self.modules, self.step)
        self.whole.train()
        values = {f"val/{k}": float(v) for k, v in result.items() if not isinstance(v, Image.Image)}
        self.report.metrics.update(values)
        if self.trackers:
            self.accelerator.log(values, step=self.step)
        if not (self.output_dir and self.accelerator.is_main_process):
            return
        with open(self.output_dir / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, **values}) + "\n")
        (self.output_dir / "samples").mkdir(exist_ok=True)
        for name, picture in result.items():
            if isinstance(picture, Image.Image):
                picture.save(self.output_dir / "samples" / f"step_{self.step:06d}_{name}.png")

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, for a while."""
        trained = [p.detach().clone() for p in self.parameters] if self.ema else []
        self._use_average()
        try:
            yield
        finally:
            for parameter, value in zip(self.parameters, trained, strict=False):
                parameter.data.copy_(value)

    def _use_average(self) -> None:
        for parameter, value in zip(self.parameters, self.ema, strict=False):
            parameter.data.copy_(value)

    def save(self) -> None:
        """Write a checkpoint; every process takes part, the main one writes."""
        if self.checkpoint_dir is None or self.saved_step == self.step:
            return
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            self._check_finite(math.nan)
        weights = get_model_state_dict(self.whole, options=_FULL)
        moments = get_optimizer_state_dict(self.whole, self.optimizer.optimizer, options=_FULL)
        if self.accelerator.is_main_process:  # elsewhere both are empty
            tensors, groups = checkpoints.flatten_optimizer(moments)
            scaler = self.accelerator.scaler
            state = {
                "config": dataclasses.asdict(self.config),
                "optimizer_groups": groups,
                "scaler": scaler.state_dict() if scaler else None,
            }
            ema = {str(i): value for i, value in enumerate(self.ema)}
            checkpoint = checkpoints.Checkpoint(self.step, weights, tensors, ema, state)
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
        _check_same_run(self.config, loaded.state["config"], self.checkpoint_dir)
        try:
            set_model_state_dict(self.whole, loaded.weights, options=_FULL)
            state = checkpoints.unflatten_optimizer(loaded.optimizer, loaded.state["optimizer_groups"])
            set_optimizer_state_dict(self.whole, self.optimizer.optimizer, state, options=_FULL)
            for i, average in enumerate(self.ema):
                average.copy_(loaded.ema[str(i)])
        except (RuntimeError, KeyError, ValueError) as error:
            raise checkpoints.CheckpointError(
                f"{self.checkpoint_dir} holds weights of another shape or name ({error}); "
                "resume with the model settings of that run, or start in another folder"
            ) from error
        if self.accelerator.scaler and loaded.state["scaler"]:
            self.accelerator.scaler.load_state_dict(loaded.state["scaler"])
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
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            os.replace(temporary, path)


def _accelerator(config: TrainConfig, trackers: list[str], output_dir: Path | None) -> Accelerator:
    # accelerate keeps the first precision of a process for good; a notebook may train in one and then another.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        gradient_accumulation_steps=config.gradient_accumulation,
        mixed_precision=_mixed_precision(config),
        log_with=trackers or None,
        project_dir=output_dir / "logs" if output_dir else None,
        cpu=config.cpu,
    )
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    return accelerator


def _optimizer(whole: nn.Module, parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    rate, betas, decay = learning_rate(config, 0), config.betas, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay)
    matrices = matrix_parameters(whole)
    chosen = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in chosen]
    return Muon(matrices, others, lr=rate, betas=betas, weight_decay=decay)


def _mixed_precision(config: TrainConfig) -> str:
    """accelerate's word for ``config.precision``; a processor without bf16 arithmetic is 15 times slower with it."""
    if config.precision != "auto":
        return "no" if config.precision == "fp32" else config.precision
    on_cpu = config.cpu or not torch.accelerator.is_available()
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() if on_cpu else torch.cuda.is_bf16_supported()
    return "bf16" if native else "no"


def _micro_size(config: TrainConfig, processes: int) -> int:
    """Samples of one process in one micro-batch."""
    parts = processes * config.gradient_accumulation
    if config.batch_size % parts:
        raise TrainingError(
            f"batch_size {config.batch_size} must be a multiple of processes x gradient_accumulation = {parts}"
        )
    return config.batch_size // parts


def _check_same_run(config: TrainConfig, saved: Mapping[str, Any], folder: Path) -> None:
    """Refuse to resume with settings that would change what the uninterrupted run had done."""
    may_differ = {
        "max_minutes",
        "save_every",
        "keep_last",
        "validate_every",
        "log_every",
        "log_with",
        "cpu",
        "compile",
    }
    if config.schedule == "constant":
        may_differ.add("steps")
    current = json.loads(json.dumps(dataclasses.asdict(config)))
    differing = [k for k in current if k not in may_differ and current[k] != saved.get(k)]
    if differing:
        changes = ", ".join(f"{name} {saved.get(name)} -> {current[name]}" for name in differing)
        raise TrainingError(f"{folder} was trained with other settings ({changes}); use those, or another folder")
