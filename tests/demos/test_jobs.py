"""The app's worker: results, progress, refusals, cancelling and the limit of time."""

from __future__ import annotations

import multiprocessing.connection
import os
import statistics
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from demos.jobs import Cancelled, JobError, Progress, Waiting, Worker, last_metrics

ENDLESS = {"object_list": [], "timeout": 60}
"""Arguments with which waiting for connections sleeps."""


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(limit=60)
    yield made
    made.stop()


def test_gives_progress_and_then_the_result_and_keeps_its_process(worker: Worker) -> None:
    *states, result = worker.run("anna", statistics.fmean, data=[1.0, 2.0])
    assert result == 1.5
    assert all(isinstance(state, Progress) for state in states)
    process = worker._process
    assert list(worker.run("ben", statistics.fmean, data=[5.0]))[-1] == 5.0
    assert worker._process is process


def test_a_refusal_is_one_sentence_and_the_next_job_runs(worker: Worker) -> None:
    with pytest.raises(JobError, match="fmean requires at least one data point"):
        list(worker.run("anna", statistics.fmean, data=[]))
    assert list(worker.run("anna", statistics.fmean, data=[3.0]))[-1] == 3.0


def test_only_its_visitor_cancels_a_job(worker: Worker) -> None:
    list(worker.run("anna", statistics.fmean, data=[1.0]))  # the process is up
    job = worker.run("anna", multiprocessing.connection.wait, **ENDLESS)
    next(job)
    assert not worker.cancel("ben")
    next(job)
    assert worker.cancel("anna")
    with pytest.raises(Cancelled, match="cancelled"):
        list(job)
    assert not worker.cancel("anna")
    assert list(worker.run("anna", statistics.fmean, data=[3.0]))[-1] == 3.0


def test_a_process_that_dies_is_not_a_job_that_was_cancelled(worker: Worker) -> None:
    with pytest.raises(JobError, match="ended before the job did") as raised:
        list(worker.run("anna", os._exit, status=9))
    assert not isinstance(raised.value, Cancelled)
    assert list(worker.run("anna", statistics.fmean, data=[3.0]))[-1] == 3.0


def test_a_job_that_takes_too_long_is_stopped() -> None:
    worker = Worker(limit=0.5)
    try:
        with pytest.raises(JobError, match=r"more than 0 seconds|more than 1 seconds"):
            list(worker.run("anna", multiprocessing.connection.wait, **ENDLESS))
    finally:
        worker.stop()


def test_a_process_warms_up_before_its_first_job_and_after_a_failure_goes_on(tmp_path: Path) -> None:
    done = tmp_path / "done"
    worker = Worker(warm=[statistics.fmean, partial(Path.touch, done)])  # the first one lacks its argument
    try:
        worker.start()
        until = time.monotonic() + 60
        while not done.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        process = worker._process
        assert list(worker.run("anna", statistics.fmean, data=[2.0]))[-1] == 2.0
        assert worker._process is process
    finally:
        worker.stop()


def test_visitors_wait_for_one_another(worker: Worker) -> None:
    list(worker.run("anna", statistics.fmean, data=[1.0]))
    job = worker.run("anna", multiprocessing.connection.wait, **ENDLESS)
    next(job)
    results: list[float] = []
    other = threading.Thread(target=lambda: results.append(list(worker.run("ben", statistics.fmean, data=[2.0]))[-1]))
    other.start()
    time.sleep(0.5)
    assert not results
    worker.cancel("anna")
    with pytest.raises(JobError):
        list(job)
    other.join(30)
    assert results == [2.0]


def test_a_waiting_job_tells_its_place_and_is_cancelled(worker: Worker) -> None:
    list(worker.run("anna", statistics.fmean, data=[1.0]))
    first = worker.run("anna", multiprocessing.connection.wait, **ENDLESS)
    next(first)
    waiting = worker.run("ben", statistics.fmean, tab="sound", data=[2.0])
    last = worker.run("carl", statistics.fmean, data=[3.0])
    assert next(waiting) == Waiting(1)
    assert next(last) == Waiting(2)
    assert worker.cancel("ben", "explore") == 0  # another tab's jobs stay
    assert worker.cancel("ben", "sound") == 1
    with pytest.raises(Cancelled, match="cancelled"):
        list(waiting)
    assert next(last) == Waiting(1)
    assert isinstance(next(first), Progress)
    worker.cancel("anna")
    with pytest.raises(Cancelled):
        list(first)
    assert list(last)[-1] == 3.0


def test_a_job_whose_page_is_closed_ends_at_once(worker: Worker) -> None:
    """Gradio closes the iterator of an event when its page has gone."""
    list(worker.run("anna", statistics.fmean, data=[1.0]))
    job = worker.run("anna", multiprocessing.connection.wait, **ENDLESS)
    next(job)
    process = worker._process
    job.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not process.is_alive()
    assert list(worker.run("ben", statistics.fmean, data=[4.0]))[-1] == 4.0


def test_one_visitor_and_all_of_them_may_have_so_many_jobs() -> None:
    worker = Worker(each=2, most=3)
    try:
        jobs = [worker.run(name, multiprocessing.connection.wait, **ENDLESS) for name in ("anna", "anna", "ben")]
        for job in jobs:
            next(job)
        with pytest.raises(JobError, match="2 of your jobs wait or run already; cancel one"):
            next(worker.run("anna", statistics.fmean, data=[1.0]))
        with pytest.raises(JobError, match="3 jobs of all visitors wait already"):
            next(worker.run("carl", statistics.fmean, data=[1.0]))
        jobs[1].close()  # pyright: ignore[reportAttributeAccessIssue]
        assert next(worker.run("anna", statistics.fmean, data=[1.0])) == Waiting(2)
    finally:
        for job in jobs:
            job.close()  # pyright: ignore[reportAttributeAccessIssue]
        worker.stop()


def test_progress_is_the_last_whole_line(tmp_path: Path) -> None:
    assert last_metrics(tmp_path) == {}
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "train/loss": 0.5}\n')
    assert last_metrics(tmp_path) == {"step": 2, "train/loss": 0.5}
    assert last_metrics(tmp_path, since=time.time() + 60) == {}  # an earlier job's
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "metrics.jsonl").write_text('{"step": 7}\n')
    os.utime(tmp_path / "metrics.jsonl", (0, 0))
    assert last_metrics(tmp_path / "none", tmp_path) == {"step": 7}
    (tmp_path / "teacher" / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert last_metrics(tmp_path) == {}
