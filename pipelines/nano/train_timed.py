"""Trains nano's denoiser for a given time, for minutes on a GPU: ``python -m pipelines.nano.train_timed``.

Learning rates follow steps, and how many steps fit into the time is not known before. So the first tenth of the time
trains at a constant rate and counts steps, and the rest is a run of as many steps as then fit, whose rate falls to
zero. The weights are written in files of at most 15 MB, so that they pass through narrow doors; `from_pretrained` reads
them as they are.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from mappers.command_line import run_script
from mappers.files import refuse_filled
from mappers.training.trainer import fit

from .recipes.diffusion import DiffusionTask
from .train import RECIPES, TEXT_TO_IMAGE, build_task

PIECE = "15MB"
MEASURED = 0.1
"""Share of the time that trains at a constant rate."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train the denoiser of the text-to-image model for some minutes."""

    output: Path
    """Folder for the weights and the log; it must not exist or be empty."""
    minutes: float = 8.0
    """Time of training, without loading and saving."""
    batch_size: int = 512
    """Pictures in a step."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    seed: int = 0
    """Seed of all random draws; choose another one for each piece of a long training."""
    shipped: bool = True
    """Start from the weights in the package, or in the folder text_to_image."""
    text_to_image: Path = TEXT_TO_IMAGE
    """Folder of the text-to-image model: its parts are read from here."""
    compile: bool = False
    """Compile the trained modules with torch.compile: a minute that long trainings on a GPU get back."""
    workers: int | None = None
    """Processes that render ahead; if not given, as many as there are cores to spare."""


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> dict[str, Any]:
    """Train, write the weights, and return what is also written as ``log.json``.

    Raises:
        FileExistsError: the output folder has files in it.
    """
    refuse_filled(arguments.output)
    torch.manual_seed(arguments.seed)
    task = build_task("diffusion", shipped=arguments.shipped, text_to_image=arguments.text_to_image)
    config = RECIPES["diffusion"].with_overrides(
        batch_size=arguments.batch_size, learning_rate=arguments.learning_rate, seed=arguments.seed,
        compile=arguments.compile or None,
    )  # fmt: skip
    begun = time.monotonic()
    first = fit(
        task,
        dataclasses.replace(config, schedule="constant", max_minutes=MEASURED * arguments.minutes, validate_every=None),
        workers=arguments.workers,
    )
    left = 60 * arguments.minutes - (time.monotonic() - begun)
    steps = max(1, int(left * first.steps / first.seconds))
    # Another seed: the same one would draw the pictures of the first steps again.
    rest = dataclasses.replace(
        config, schedule="linear", steps=steps, warmup_steps=min(20, steps), seed=config.seed + 1,
        max_minutes=left / 60, validate_every=None,
    )  # fmt: skip
    second = fit(task, rest, workers=arguments.workers)
    pictures = (first.steps + second.steps) * config.batch_size
    log = {
        "steps": first.steps + second.steps,
        "pictures": pictures,
        "pictures_per_second": round(pictures / (first.seconds + second.seconds), 1),
        "losses": [[step, round(loss, 5)] for step, loss in (*first.losses, *second.losses)],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    assert isinstance(task, DiffusionTask)
    for name in ("unet", "text_encoder"):
        getattr(task, name).half().save_pretrained(arguments.output / name, max_shard_size=PIECE)
    (arguments.output / "log.json").write_text(json.dumps(log) + "\n", encoding="utf-8")
    print(json.dumps({**log, "losses": "in log.json"}))
    return log


if __name__ == "__main__":
    raise SystemExit(run_script(main))
