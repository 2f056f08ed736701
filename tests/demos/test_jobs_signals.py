"""The app's worker ends when the app does, however that was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = """
import multiprocessing.connection, sys
from demos.jobs import Worker

if __name__ == "__main__":
    job = Worker().run("anna", multiprocessing.connection.wait, object_list=[], timeout=60)
    next(job)
    print("running", flush=True)
    list(job)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_of_an_app_that_is_ended_in_a_job(number: int, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    app = subprocess.Popen(
        [sys.executable, tmp_path / "app.py"], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert app.stdout is not None
        assert app.stdout.readline() == "running\n"
        app.send_signal(number)
        assert app.wait(60) == -number
        until = time.monotonic() + 60
        while alive(app.pid):
            assert time.monotonic() < until, "a process that the app started is left"
            time.sleep(0.05)
    finally:
        if alive(app.pid):
            os.killpg(app.pid, signal.SIGKILL)
        app.communicate()


def alive(group: int) -> bool:
    """Whether a group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
