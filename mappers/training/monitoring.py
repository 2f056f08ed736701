"""Means for the log, trackers, and clean stops by signals, for the training loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .train_config import TrainConfig


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


class MetricWindow:
    """Means of the logged values since the last line of the log."""

    def __init__(self, start: float):
        self.start, self.count, self.sums = start, 0, dict[str, float]()
        self.processor = time.process_time()

    def add(self, values: Mapping[str, float]) -> None:
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def close(self, step: int, rate: float) -> dict[str, float]:
        now = time.monotonic()
        means = {f"train/{name}": value / self.count for name, value in self.sums.items()}
        speed = self.count / max(now - self.start, 1e-9)
        used = time.process_time() - self.processor
        self.start, self.count, self.sums, self.processor = now, 0, {}, self.processor + used
        return {
            **means,
            "train/learning_rate": rate,
            "train/steps_per_second": speed,
            "train/processor_seconds": used,
        }


def trackers(config: TrainConfig, output_dir: Path | None) -> list[str]:
    """Names of accelerate's trackers: those asked for, or TensorBoard where it is installed."""
    if output_dir is None:
        return []
    for name in config.log_with:
        if find_spec(name) is None:
            raise TrainingError(f"log_with names {name}, which is not installed; install it or drop it")
    return list(config.log_with or (["tensorboard"] if find_spec("tensorboard") else []))


@contextmanager
def catch_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first Ctrl-C or SIGTERM; a second one acts at once, as it would have before."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    previous: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        stop()
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
