"""Training on a CPU with freed memory kept and given back: ``python -m benchmarks.app.allocation``.

Three trainings run in a process of their own each, with `mappers.training.malloc.keep_freed_memory` and without: the
low-rank tensor of paper size (17 million weights), the small perceptron, nano's personalization. For each: processor
seconds of a step in the program and in the system, page faults of a step, and the highest memory of the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.common.results import Results, Row, Table, result_path
from mappers.command_line import run_script
from mappers.training import trainer

OUTPUT = result_path(__file__)
JOBS = {"vm, paper size": 6, "mlp, small": 60, "personalize": 6}
"""Steps that are timed."""


def steps_of(job: str, steps: int) -> None:
    """Train a job for so many steps."""
    if job == "personalize":
        import pipelines
        from mappers.yaml_settings import load_settings
        from pipelines.nano import world
        from pipelines.personalization.settings import PersonalizeConfig

        pictures = world.render_all(world.reference_scenes("teapot"))
        config = load_settings(PersonalizeConfig, "nano", task="personalize")
        pipelines.personalize(pictures, "<teapot>", steps=steps, config=config)
        return
    import dataclasses

    from mappers.training.trainer import fit
    from mappers.yaml_settings import load_settings
    from nerf.fields import build_field
    from nerf.scenes import load_scene
    from nerf.settings import RadianceConfig
    from nerf.training import RadianceTask, build_sampler

    family, size = job.split(", ")
    config = load_settings(RadianceConfig, family, task="train")
    config = dataclasses.replace(config, stages=1, train=config.train.with_overrides(steps=steps, cpu=True))
    scene = load_scene("robot")
    field = build_field(family, scene.bounds, size.split()[0])
    fit(RadianceTask(scene, field, config, build_sampler(field, config, seed=0)), config.train)


def measure(job: str, keep: str) -> None:
    """In a process of its own: what steps cost beyond the first few; prints one line of JSON."""
    torch.set_num_threads(1)
    if keep == "no":
        trainer.keep_freed_memory = lambda: False
    few = JOBS[job] // 3
    rows = []
    for steps in (few, few, few + JOBS[job]):
        before = resource.getrusage(resource.RUSAGE_SELF)
        steps_of(job, steps)
        after = resource.getrusage(resource.RUSAGE_SELF)
        rows.append([getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime", "ru_minflt")])
    _, a, b = rows  # the first one loads and imports
    user, system, faults = ((y - x) / JOBS[job] for x, y in zip(a, b, strict=True))
    print(json.dumps({"user": round(user, 3), "system": round(system, 3), "faults": round(faults),
                      "peak_bytes": 1024 * after.ru_maxrss}))  # fmt: skip


def main(*, one: tuple[str, str] | None = None, output: Path = OUTPUT) -> None:
    """Measure what keeping freed memory saves.

    Args:
        one: A job and "yes" or "no" (kept), measured in this process; the benchmark starts itself with this option.
        output: Results.
    """
    if one:
        measure(*one)
        return
    results = Results(output)
    for job in JOBS:
        for keep in ("no", "yes"):
            results.row(f"{job}, kept: {keep}", lambda job=job, keep=keep: in_a_process(job, keep))
    results.report(table(results.rows))


def in_a_process(job: str, keep: str) -> Row:
    """What a new process measures."""
    command = [sys.executable, "-m", "benchmarks.app.allocation", "--one", job, keep]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: dict[str, Row]) -> Table:
    """A row for each job, with freed memory given back and kept."""
    lines = []
    for name, row in rows.items():
        job, _, keep = name.rpartition(", kept: ")
        lines.append([job, "kept" if keep == "yes" else "given back", f"{row['user']:.2f}", f"{row['system']:.2f}",
                      f"{row['faults']:,}", f"{row['peak_bytes'] / 1e9:.1f} GB"])  # fmt: skip
    columns = ["job", "freed memory", "seconds a step, program", "system", "page faults", "peak memory"]
    return Table("Steps of training", columns, lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
