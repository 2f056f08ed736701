"""Trains the judge of edits: ``python -m benchmarks.editing.judge --output runs/judge``.

A CLIP for pictures of the families that no mapper is trained with: another seed, and another network as picture tower.
`benchmarks/editing/edits.py --judge benchmarks/editing/judge_weights` uses it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from mappers.trainer import fit
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the judge of edits.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--max-minutes", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    tokenizer = families_tokenizer()
    config = families_config(tokenizer, PICTURES)
    task = FamiliesTask(build_families_clip(config), config, tokenizer, RECIPES["families"].batch_size)
    train = dataclasses.replace(RECIPES["families"], steps=arguments.steps, seed=SEED)
    train = train.with_overrides(max_minutes=arguments.max_minutes)
    report = fit(task, train, output_dir=arguments.output, resume="auto" if arguments.resume else False)
    save_open_clip(task.clip, config, families_tokenizer(), FOLDER)
    print(json.dumps({"steps": report.steps, "stopped": report.stopped, **report.metrics}))


if __name__ == "__main__":
    main()
