"""Trains an encoder of pictures: ``python -m nerf.conditional.train_encoder nano-chairs --output runs/encoder``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from mappers.picture_encoder import PictureEncoder
from mappers.trainer import fit

from .encoding import EncoderConfig, EncoderTask
from .model import ENCODER, ConditionalModel, located


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train an encoder that sees codes and pose of an object in one picture, where inversion starts."""

    model: Annotated[str, tyro.conf.Positional]
    """Category model: nano-chairs, nano-cars, or a folder."""
    output: Path
    """Folder of the run: checkpoints, metrics, and the encoder in `encoder/`."""
    steps: int | None = None
    """Optimizer steps; the settings' own number when not given."""
    max_minutes: float | None = None
    """Stop, with a checkpoint, after this many minutes."""
    seed: int = 0
    """Seed of weights and pictures."""
    resume: bool = False
    """Go on from the newest checkpoint of the output folder."""
    threads: int = 1
    """CPU threads."""
    export: bool = False
    """Also write the encoder into the model's folder, where inversion finds it."""
    settings: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)


def main(arguments: Arguments) -> PictureEncoder:
    """Train the encoder and write it, in half precision."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    train = arguments.settings.train.given(
        steps=arguments.steps, max_minutes=arguments.max_minutes, seed=arguments.seed
    )
    task = EncoderTask(ConditionalModel.load(arguments.model), dataclasses.replace(arguments.settings, train=train))
    report = fit(task, train, output_dir=arguments.output, resume="auto" if arguments.resume else False)
    encoder = task.encoder.cpu().eval()
    figures = {"model": arguments.model, "steps": report.steps, **task.validate({"encoder": encoder}, report.steps)}
    for folder in [arguments.output] + ([located(arguments.model)] if arguments.export else []):
        encoder.half().save_pretrained(folder / ENCODER)
    print(json.dumps(figures))
    return encoder


if __name__ == "__main__":
    main(tyro.cli(Arguments, args=sys.argv[1:]))
