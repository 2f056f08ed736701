"""Batches that processes of their own prepare ahead of the training, so that rendering never holds up a GPU."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset

from .draws import Draws

AHEAD = 2
"""Batches that each process has ready or in work."""
MOST = 14
"""Processes at most, if nobody says how many."""


class Preparation(ABC):
    """Makes a task's batches from draws alone: on the CPU, without a model, and without a state that changes.

    A task whose ``batch`` is one lets :func:`mappers.training.trainer.fit` call it in other processes, several steps
    ahead. The numbers drawn are the same. Instances are pickled.
    """

    @abstractmethod
    def __call__(self, draws: Draws) -> Any:
        """The samples ``draws.indices`` of step ``draws.step``: CPU tensors, in tuples, lists or dictionaries."""


class _MicroBatches(Dataset[Any]):
    """Numbered micro-batches of a run; the draws of number n are those of step n // rounds, round n % rounds."""

    def __init__(self, preparation: Preparation, seed: int, rounds: list[range]):
        self.preparation, self.seed, self.rounds = preparation, seed, rounds

    def __getitem__(self, number: int) -> Any:
        step, part = divmod(number, len(self.rounds))
        return self.preparation(Draws(self.seed, step, self.rounds[part]))


def batches_of(
    batch: Callable[[Draws], Any],
    seed: int,
    rounds: list[range],
    steps: range,
    workers: int | None,
    device: torch.device,
) -> Iterator[Any]:
    """A training's micro-batches, in order.

    Args:
        batch: a task's.
        seed: the run's seed.
        rounds: global sample indices of this process's micro-batches in a step.
        steps: steps from the next to the last.
        workers: processes that do a `Preparation` ahead; None: as many as there are cores to spare.
        device: where the training wants them.
    """
    if not isinstance(batch, Preparation):
        return (batch(Draws(seed, step, indices, device)) for step in steps for indices in rounds)
    if workers is None:
        workers = spare_workers(device, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    loader = DataLoader(
        _MicroBatches(batch, seed, rounds),
        batch_size=None,
        sampler=range(steps.start * len(rounds), steps.stop * len(rounds)),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_training,
        # A process that already uses a GPU must not be forked; elsewhere a fork starts in no time.
        multiprocessing_context=None if not workers else "fork" if device.type == "cpu" else "forkserver",
    )
    return (send_to_device(prepared, device, non_blocking=True) for prepared in loader)


def _leave_signals_to_the_training(_worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal, and the training still needs its last batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def spare_workers(device: torch.device, processes: int) -> int:
    """How many processes may prepare batches of one training process, when ``processes`` train on this machine.

    Where a GPU trains, all cores but one. A training on the CPU wants the cores itself, so one where there are two.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spare = cores // processes - 1
    return max(0, min(spare, MOST if device.type != "cpu" else 1))
