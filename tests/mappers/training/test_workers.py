"""Batches prepared by other processes are those of the training itself, in order, and their errors are seen."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mappers.training.checkpoints import steps
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, fit
from mappers.training.workers import Preparation, batches_of, spare_workers

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Numbers(Preparation):
    """Normal numbers; a process that is not the training's says so in the last column."""

    poison: int | None = None

    def __call__(self, draws: Draws) -> dict[str, Tensor]:
        if draws.step == self.poison:
            raise ValueError(f"step {draws.step} cannot be rendered")
        other = float(torch.utils.data.get_worker_info() is not None)
        return {"x": draws.normal("x", (4,)), "other": torch.full((len(draws),), other)}


class Regression:
    def __init__(self, poison: int | None = None):
        torch.manual_seed(0)
        self.modules: Mapping[str, nn.Module] = {"line": nn.Linear(4, 1)}
        self.batch = Numbers(poison)
        self.others: list[float] = []

    def loss(self, modules: Prepared, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        assert torch.equal(batch["x"], draws.normal("x", (4,)))
        self.others.append(batch["other"].mean().item())
        return {"loss": (modules["line"](batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}


CONFIG = TrainConfig(steps=6, batch_size=8, gradient_accumulation=2, cpu=True, save_every=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_training_is_the_same_with_and_without_workers(workers: int, tmp_path: Path) -> None:
    alone, helped = Regression(), Regression()
    fit(alone, CONFIG)
    fit(helped, dataclasses.replace(CONFIG, max_minutes=1e-9), output_dir=tmp_path, workers=workers)
    fit(helped, CONFIG, output_dir=tmp_path, resume=True, workers=workers)
    assert torch.equal(alone.modules["line"].weight, helped.modules["line"].weight)  # pyright: ignore[reportArgumentType]
    assert set(alone.others) == {0.0}
    assert set(helped.others) == {1.0}


def test_an_error_in_a_worker_reaches_the_training() -> None:
    with pytest.raises(ValueError, match="step 3 cannot be rendered"):
        fit(Regression(poison=3), CONFIG, workers=1)


def test_workers_leave_signals_to_the_training() -> None:
    class Asks(Preparation):
        def __call__(self, draws: Draws) -> list[bool]:
            interrupt, stop = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
            return [interrupt is signal.SIG_IGN, stop is signal.SIG_DFL]

    assert [*batches_of(Asks(), 0, [range(2)], range(1), 1, CPU)] == [[True, True]]


def test_how_many_workers_a_machine_can_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    for cores, processes, beside_cpu, beside_gpu in [
        (1, 1, 0, 0),
        (2, 1, 1, 1),
        (2, 2, 0, 0),
        (16, 1, 1, 14),
        (16, 4, 1, 3),
    ]:
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert spare_workers(CPU, processes) == beside_cpu
        assert spare_workers(gpu, processes) == beside_gpu


TRAINING = """
import sys
from pathlib import Path

import torch
from torch import nn
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from mappers.training.workers import Preparation


class Ones(Preparation):
    def __call__(self, draws):
        return {"x": torch.ones(len(draws), 4)}


class Task:
    modules = {"line": nn.Linear(4, 1)}
    batch = Ones()

    def loss(self, modules, batch, draws):
        print("running", flush=True)
        return {"loss": modules["line"](batch["x"]).square().mean()}


report = fit(Task(), TrainConfig(steps=10**7, batch_size=2, cpu=True), output_dir=Path(sys.argv[1]), workers=2)
sys.exit(0 if report.stopped == "signal" else 1)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_a_training_that_is_terminated_saves_and_leaves_no_process(tmp_path: Path) -> None:
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, tmp_path / "run"], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert training.stdout is not None
    assert training.stdout.readline() == "running\n"
    training.terminate()
    training.communicate(timeout=120)
    assert training.returncode == 0
    assert steps(tmp_path / "run" / "checkpoints")
    with pytest.raises(ProcessLookupError):
        os.killpg(training.pid, 0)
