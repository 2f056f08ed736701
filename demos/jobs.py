"""A process that does the app's work, one job at a time: it can be stopped, and what it has loaded stays loaded."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
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
class Waiting:
    """A job that has not begun."""

    before: int
    """Jobs that run or wait before it."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    seconds: float
    """Since it began."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The last line of its ``metrics.jsonl``, with "step" among them; empty while there is none."""
    steps: int | None = None
    """Steps that it takes, where it counts them."""


@dataclass(eq=False)
class Ticket:
    """The place of a job in the queue."""

    visitor: str
    tab: str
    unwanted: bool = False


class Worker:
    """Runs functions in a process of its own, one after the other, in the order in which they were asked for.

    Args:
        limit: seconds after which a job is stopped.
        each: jobs of one visitor that may wait or run at the same time.
        most: jobs of all visitors that may.
        warm: what the process calls, one after the other, while it has no job: loads what jobs will need.
    """

    def __init__(self, limit: float = 900.0, each: int = 3, most: int = 32, warm: Sequence[Callable[[], Any]] = ()):
        self.limit, self.each, self.most, self.warm = limit, each, most, tuple(warm)
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._process: Any = None
        self._connection: Connection | None = None

    def run(
        self, visitor: str, work: Callable[..., Any], *, tab: str = "", folder: Path | None = None,
        watch: Sequence[Path] = (), **arguments: Any,
    ) -> Iterator[Waiting | Progress | Any]:  # fmt: skip
        """`Waiting` and `Progress` again and again, and last what ``work(folder=folder, **arguments)`` returns.

        A job whose iterator is closed, as that of a page that is open nowhere any more, ends.

        Args:
            visitor: for whom, as `cancel` asks.
            work: a function at the top of a module; called without ``folder`` where that is None.
            tab: where the visitor asked for it, as `cancel` asks.
            folder: where it writes; its ``metrics.jsonl`` is read for progress.
            watch: further folders whose ``metrics.jsonl`` is read, at any depth; the newest counts.
            **arguments: further arguments; like the result, anything that can be pickled.

        Raises:
            Cancelled: `cancel` was called meanwhile.
            JobError: the visitor or the app has too many jobs; or the work refused its input, failed or took too long.
        """
        ticket = self._enter(visitor, tab)
        try:
            while before := self._before(ticket):
                yield Waiting(before)
                time.sleep(POLL)
                _check(ticket)
            folders = [*([] if folder is None else [folder]), *watch]
            yield from self._attend(
                ticket, work, folders, arguments if folder is None else {"folder": folder, **arguments}
            )
        finally:
            with self._lock:
                self._tickets.remove(ticket)

    def _enter(self, visitor: str, tab: str) -> Ticket:
        with self._lock:
            own = sum(ticket.visitor == visitor for ticket in self._tickets)
            if own >= self.each:
                raise JobError(f"{own} of your jobs wait or run already; cancel one, or wait until one has ended")
            if len(self._tickets) >= self.most:
                raise JobError(f"{self.most} jobs of all visitors wait already; try again in some minutes")
            self._tickets.append(ticket := Ticket(visitor, tab))
        return ticket

    def _before(self, ticket: Ticket) -> int:
        with self._lock:
            return self._tickets.index(ticket)

    def _attend(
        self, ticket: Ticket, work: Callable[..., Any], folders: Sequence[Path], arguments: dict[str, Any]
    ) -> Iterator[Any]:
        connection = self.start()
        begun, clock, ended = time.monotonic(), time.time(), False
        connection.send((work, arguments))
        try:
            while True:
                answered = connection.poll(POLL)
                kind, value = connection.recv() if answered else ("", None)
                ended = bool(kind)
                if kind == "done":
                    yield value
                    return
                if kind:
                    raise JobError(value)
                _check(ticket)
                spent = time.monotonic() - begun
                if spent > self.limit:
                    raise JobError(f"the job took more than {self.limit:.0f} seconds and was stopped; ask for less")
                yield Progress(spent, last_metrics(*folders, since=clock - 1))
        except (EOFError, OSError):
            _check(ticket)
            raise JobError(
                "the job's process ended before the job did, perhaps for want of memory; ask for less"
            ) from None
        finally:
            if not ended:
                self.stop()
                self.start()

    def cancel(self, visitor: str, tab: str | None = None) -> int:
        """Take back a visitor's jobs, waiting or running, of one tab or of all; how many there were."""
        with self._lock:
            chosen = [one for one in self._tickets if one.visitor == visitor and tab in (None, one.tab)]
            for ticket in chosen:
                ticket.unwanted = True
        return len(chosen)

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


def _end_with_the_app() -> None:
    """End this process when the app has ended, however that was: nobody would get what the job makes."""
    app = multiprocessing.parent_process()
    if app is not None:
        app.join()
        os._exit(1)


def _check(ticket: Ticket) -> None:
    """Raise `Cancelled` where the job is unwanted."""
    if ticket.unwanted:
        raise Cancelled("the job was cancelled")


def last_metrics(*folders: Path, since: float = 0.0) -> dict[str, float]:
    """The last whole line of the newest ``metrics.jsonl`` in some folders, or nothing.

    Args:
        *folders: at any depth.
        since: seconds since 1970; what was last written before is of an earlier job.
    """
    paths = [path for folder in folders if folder.is_dir() for path in folder.rglob("metrics.jsonl")]
    changed = {path: path.stat().st_mtime for path in paths}
    newest = max(changed, key=changed.__getitem__, default=None)
    if newest is None or changed[newest] < since:
        return {}
    lines = newest.read_text(encoding="utf-8").splitlines()
    try:
        return json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:  # in the midst of being written
        return {}


def _serve(connection: Connection, warm: Sequence[Callable[[], Any]]) -> None:
    """What the process does: one piece of work after the other, until the pipe closes or the app ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the app ends this one
    threading.Thread(target=_end_with_the_app, daemon=True).start()
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
