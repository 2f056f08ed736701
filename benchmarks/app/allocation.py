"""Training on a CPU with freed memory kept and given back: ``python -m benchmarks.app.allocation``.

One process each, in turn: steps of the low-rank tensor of paper size (17 million weights), of the small perceptron and
of nano's personalization, with `mappers.malloc.keep_freed_memory` and without. Prints processor seconds a step in
the program and in the system, page faults, and the process's highest memory, and writes
its results.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from mappers import trainer
from mappers.files import replacing

ROOT = Path(__file__).parents[2]
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

    from mappers.trainer import fit
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Training on a CPU with freed memory kept and given back.")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "app" / "allocation.json")
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.one)
        return
    rows = {}
    print("| job | freed memory | s a step, program | system | page faults | peak |\n|---|---|---|---|---|---|")
    for job in JOBS:
        for keep in ("no", "yes"):
            done = subprocess.run(
                [sys.executable, __file__, "--one", job, keep], capture_output=True, text=True, check=True
            )
            row = rows[f"{job}, kept: {keep}"] = json.loads(done.stdout.splitlines()[-1])
            print(f"| {job} | {'kept' if keep == 'yes' else 'given back'} | {row['user']:.2f} | {row['system']:.2f} |"
                  f" {row['faults']:,} | {row['peak_bytes'] / 1e9:.1f} GB |", flush=True)  # fmt: skip
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps({"torch": torch.__version__, "jobs": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
