"""Trains a picture encoder: ``python -P -m nerf.conditional.train_encoder nano-chairs --output runs/encoder``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import tyro

from mappers.command_line import run_script
from mappers.picture_encoder import PictureEncoder
from mappers.training.model_training import ModelTraining

from .inversion.encoder_task import EncoderConfig, EncoderTask
from .model import ENCODER, ConditionalModel, located


@dataclass(frozen=True, kw_only=True)
class Arguments(ModelTraining):
    """Train an encoder that predicts codes and pose of an object from one picture, as a start for inversion."""

    model: Annotated[str, tyro.conf.Positional]
    """Category model: nano-chairs, nano-cars, or a folder."""
    settings: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)


def main(arguments: Annotated[Arguments, tyro.conf.arg(name="")]) -> PictureEncoder:
    """Train the encoder and save it in half precision."""
    arguments.start()
    train = arguments.with_overrides(arguments.settings.train)
    model = ConditionalModel.load(arguments.model)
    task = EncoderTask(model, dataclasses.replace(arguments.settings, train=train))
    report = arguments.fit(task, train, {"model": model.content, "settings": arguments.settings})
    encoder = task.encoder.cpu().eval()
    contents = {"model": arguments.model, **task.validate({"encoder": encoder}, report.steps)}
    for folder in [arguments.output] + ([located(arguments.model)] if arguments.export else []):
        encoder.half().save_pretrained(folder / ENCODER)
    arguments.finish(report, contents, settings=dataclasses.replace(arguments.settings, train=train))
    return encoder


if __name__ == "__main__":
    raise SystemExit(run_script(main))
