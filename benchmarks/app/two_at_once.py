"""Two personalizations at once, compared with one: ``python -m benchmarks.app.two_at_once``.

Each program learns a word in 20 steps. Without a limit, idle threads of OpenMP spin while they wait, and two programs
take each other's cores. Settings are measured in turn, so that a change of the machine's load meets all of them.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.results import Results, Row, Table, result_path
from mappers.command_line import run_script

OUTPUT = result_path(__file__)
SETTINGS: dict[str, dict[str, str]] = {
    "no limit": {"GOMP_SPINCOUNT": "30000000000"},
    "100,000 turns": {"GOMP_SPINCOUNT": "100000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Environment of each program; GNU's library takes 30 billion turns where threads have a core each."""
PROGRAM = """
import sys, pipelines
from pipelines.nano import world
pictures = world.render_all(world.reference_scenes("teapot"))
pipelines.personalize(pictures, "<a>", category="object", output_dir=sys.argv[1], steps=int(sys.argv[2]))
"""


def main(
    *, output: Path = OUTPUT, steps: int = 20, rounds: int = 3, settings: tuple[str, ...] = tuple(SETTINGS)
) -> None:
    """Measure and write the result file.

    Args:
        output: result file.
        steps: of each personalization.
        rounds: how often each setting is measured; the median counts.
        settings: names of `SETTINGS`.
    """
    results = Results(output, {"steps": steps, "rounds": rounds})
    times: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name in settings:
            for programs in (1, 2):
                times.setdefault((name, programs), []).append(_measured(SETTINGS[name], programs, steps))
    for name in settings:
        results.put(name, _row(times[name, 1], times[name, 2]))
    results.report(_table(results.rows))


def _measured(environment: dict[str, str], programs: int, steps: int) -> tuple[float, float]:
    """Seconds until all programs have ended, and their processor seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, f"{folder}/{number}", str(steps)], env=os.environ | environment
            )
            for number in range(programs)
        ]
        if any(program.wait() for program in running):
            raise RuntimeError("a personalization failed; its error is above")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, used


def _row(alone: list[tuple[float, float]], both: list[tuple[float, float]]) -> Row:
    names = ("seconds", "processor seconds")
    one, two = (
        {
            name: round(statistics.median(values), 1)
            for name, values in zip(names, zip(*times, strict=True), strict=True)
        }
        for times in (alone, both)
    )
    return {"one": one, "two at once": two}


def _table(rows: dict[str, Row]) -> Table:
    columns = ["idle threads", "one, s", "two at once, s", "ratio", "one, processor s", "two, processor s"]
    cells = [
        [
            name, row["one"]["seconds"], row["two at once"]["seconds"],
            row["two at once"]["seconds"] / row["one"]["seconds"],
            row["one"]["processor seconds"], row["two at once"]["processor seconds"],
        ]
        for name, row in rows.items()
    ]  # fmt: skip
    return Table("Two personalizations at once", columns, cells)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
