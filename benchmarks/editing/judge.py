"""Trains the judge of edits: ``python -m benchmarks.editing.judge --output runs/judge``.

The judge is a CLIP for pictures of the families that no mapper is trained with: another seed, and another network as
image encoder. ``python -m benchmarks.editing.edits --judge benchmarks/editing/judge_weights`` uses it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from mappers.command_line import run_script
from mappers.training.trainer import fit
from pipelines.nano.recipes.clip_families import (
    FamiliesTask,
    build_families_clip,
    families_config,
    families_tokenizer,
    save_open_clip,
)
from pipelines.nano.train import RECIPES

FOLDER = Path(__file__).parent / "judge_weights"
SEED = 1
PICTURES = {"layers": [1, 1, 1, 1], "width": 14, "head_width": 56}
"""The picture tower: CLIP's own residual network, with attention at its end."""


def main(*, output: Path, steps: int = 9000, max_minutes: float | None = None, resume: bool = False,
         threads: int = 1) -> None:  # fmt: skip
    """Train the judge of edits and write its weights.

    Args:
        output: Folder of the run.
        steps: Training steps.
        max_minutes: Stop after so many minutes, keeping what was learned.
        resume: Go on from the checkpoints in the folder.
        threads: Threads of PyTorch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    tokenizer = families_tokenizer()
    config = families_config(tokenizer, PICTURES)
    task = FamiliesTask(build_families_clip(config), config, tokenizer, RECIPES["families"].batch_size)
    train = dataclasses.replace(RECIPES["families"], steps=steps, seed=SEED)
    train = train.with_overrides(max_minutes=max_minutes)
    report = fit(task, train, output_dir=output, resume="auto" if resume else False)
    save_open_clip(task.clip, config, families_tokenizer(), FOLDER)
    print(json.dumps({"steps": report.steps, "stopped": report.stopped, **report.metrics}))


if __name__ == "__main__":
    raise SystemExit(run_script(main))
