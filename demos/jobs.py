"""A process that does the app's work, one job at a time: it can be stopped, and what it has loaded stays loaded."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

POLL = 0.2
"""Seconds between two looks at a running job."""


class JobError(RuntimeError):
    """A job ended without a result; the message tells the visitor why."""


class Cancelled(JobError):
    """A visitor did not want it any more."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    seconds: float
    """Since it began."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The last line of its ``metrics.jsonl``, with "step" among them; empty while there is none."""


class Worker:
    """Runs functions in a process of its own, for one visitor after the other.

    Args:
        limit: seconds after which a job is stopped.
        warm: what the process calls, one after the other, while it has no job: loads what jobs will need.
    """

    def __init__(self, limit: float = 900.0, warm: Sequence[Callable[[], Any]] = ()):
        self.limit, self.warm = limit, tuple(warm)
        self._turn = threading.Lock()
        self._process: Any = None
        self._connection: Connection | None = None
        self._visitor: str | None = None
        self._unwanted = False

    def run(
        self, visitor: str, work: Callable[..., Any], *, folder: Path | None = None, **arguments: Any
    ) -> Iterator[Progress | Any]:
        """Progress again and again, and last what ``work(folder=folder, **arguments)`` returns.

        Args:
            visitor: for whom, as `cancel` asks.
            work: a function at the top of a module; called without ``folder`` where that is None.
            folder: where it writes; its ``metrics.jsonl`` is read for progress.
            **arguments: further arguments; like the result, anything that can be pickled.

        Raises:
            Cancelled: `cancel` was called meanwhile.
            JobError: the work refused its input, failed or took too long.
        """
        with self._turn:
            self._visitor, self._unwanted = visitor, False
            try:
                yield from self._attend(work, folder, arguments if folder is None else {"folder": folder, **arguments})
            finally:
                self._visitor = None

    def _attend(self, work: Callable[..., Any], folder: Path | None, arguments: dict[str, Any]) -> Iterator[Any]:
        connection = self.start()
        begun = time.monotonic()
        connection.send((work, arguments))
        while True:
            try:
                answered = connection.poll(POLL)
                kind, value = connection.recv() if answered else ("", None)
            except (EOFError, OSError):
                self.stop()
                self.start()
                if self._unwanted:
                    raise Cancelled("the job was cancelled; what it had saved is kept") from None
                raise JobError(
                    "the job's process ended before the job did, perhaps for want of memory; ask for less"
                ) from None
            if kind == "done":
                yield value
                return
            if kind:
                raise JobError(value)
            spent = time.monotonic() - begun
            if spent > self.limit:
                self.stop()
                raise JobError(f"the job took more than {self.limit:.0f} seconds and was stopped; ask for less")
            yield Progress(spent, last_metrics(folder))

    def cancel(self, visitor: str) -> bool:
        """Stop the running job if it is this visitor's; whether it was."""
        if self._visitor != visitor:
            return False
        self._unwanted = True
        process = self._process
        if process is not None:
            process.kill()
        return True

    def stop(self) -> None:
        """End the process; the next job starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def start(self) -> Connection:
        """Start the process if it does not run, so that it can warm up; the pipe to it."""
        if self._process is None or not self._process.is_alive() or self._connection is None:
            self.stop()
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self.warm), daemon=True)
            self._process.start()
            theirs.close()
        return self._connection


def last_metrics(folder: Path | None) -> dict[str, float]:
    """The last whole line of ``metrics.jsonl``, or nothing."""
    path = None if folder is None else folder / "metrics.jsonl"
    if path is None or not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:  # in the midst of being written
        return {}


def _serve(connection: Connection, warm: Sequence[Callable[[], Any]]) -> None:
    """What the process does: one piece of work after the other, until the pipe closes."""
    waiting = list(warm)
    while True:
        try:
            while waiting and not connection.poll():
                with suppress(Exception):  # the job that needs it will say why it cannot
                    waiting.pop(0)()
            work, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("done", work(**arguments)))
        except (ValueError, RuntimeError, OSError) as error:  # our own sentences
            connection.send(("failed", str(error)))
        except Exception as error:
            traceback.print_exc()
            connection.send(("failed", f"a bug, sorry: {type(error).__name__}: {error}; the log has the details"))
