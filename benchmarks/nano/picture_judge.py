"""The judge of nano's pictures: a convolutional classifier, trained on renders of the same world with another seed.

``python -m benchmarks.nano.picture_judge --output runs/classifier`` trains it and writes
``benchmarks/nano/picture_judge.safetensors``. It shares neither architecture nor data seed with any nano model and is
not in the wheel. Half of what it learns from is blurred a little, so that it judges what a picture shows and not
how crisp it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from benchmarks.common.results import RUNS
from mappers.command_line import run_script
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, fit
from pipelines.nano import world
from pipelines.nano.recipes.vae import pictures_of

WEIGHTS = Path(__file__).with_suffix(".safetensors")
SEED = 1_000_003
HEADS: dict[str, tuple[str | None, ...]] = {
    "object": world.SUBSET,
    "place": (*world.PLACES, *world.GROUNDS),
    "color": (None, *world.COLORS),
    "tint": (None, *world.COLORS),
}
"""What it predicts of a picture; ``color`` is that of the ground."""


def build_classifier() -> nn.Module:
    """A slim ten-layer residual network, 2 million weights."""
    outputs = sum(map(len, HEADS.values()))
    return timm.create_model("resnet10t", num_classes=outputs, channels=(48, 96, 192, 256))


def load_classifier() -> nn.Module:
    """The trained judge."""
    model = build_classifier()
    model.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()}, strict=False)
    return model.eval()


def split(logits: Tensor) -> dict[str, Tensor]:
    """The network's outputs by head."""
    return dict(zip(HEADS, logits.split([len(labels) for labels in HEADS.values()], 1), strict=True))


def labels_of(scenes: list[world.Scene]) -> dict[str, Tensor]:
    """The right answers, as indices."""
    return {
        head: torch.tensor([labels.index(getattr(scene, head)) for scene in scenes]) for head, labels in HEADS.items()
    }


@torch.no_grad()
def accuracy(model: nn.Module, pictures: Tensor, scenes: list[world.Scene]) -> dict[str, list[bool]]:
    """Per picture, whether object, surroundings (place, or ground with its colour) and tint are right."""
    answers = split(torch.cat([model(part) for part in pictures.split(256)]))
    right = {head: answers[head].argmax(1) == truth for head, truth in labels_of(scenes).items()}
    return {
        "object": right["object"].tolist(),
        "surroundings": (right["place"] & right["color"]).tolist(),
        "tint": right["tint"].tolist(),
    }


class ClassifierTask:
    """Cross-entropy of every head on fresh renders."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.modules: Mapping[str, nn.Module] = {"classifier": model}
        rng = np.random.default_rng(99)
        self.fresh = [world.sample_scene(rng, style=None, count=1) for _ in range(512)]
        self.fresh_pictures = pictures_of(self.fresh)

    def batch(self, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = [world.sample_scene(draws.numpy(i)) for i in range(len(draws))]
        pictures = pictures_of(scenes)
        sigma = 0.4 + 0.8 * torch.rand(1, generator=draws.shared_generator("blur")).item()
        half = len(pictures) // 2
        pictures[:half] = gaussian_blur(pictures[:half], [5, 5], [sigma, sigma])
        pictures += 0.03 * draws.normal("grain", pictures.shape[1:])
        return pictures.to(draws.device), {k: v.to(draws.device) for k, v in labels_of(scenes).items()}

    def loss(self, modules: Prepared, batch: Any, draws: Draws) -> dict[str, Tensor]:
        pictures, labels = batch
        answers = split(modules["classifier"](pictures))
        losses = {head: F.cross_entropy(answers[head].float(), labels[head]) for head in HEADS}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        right = accuracy(self.model, self.fresh_pictures.to(next(self.model.parameters()).device), self.fresh)
        return {name: sum(values) / len(values) for name, values in right.items()}


def main(*, output: Path = RUNS / "classifier", steps: int = 1100, threads: int = 1,
         resume: bool = False) -> None:  # fmt: skip
    """Train the judge of nano's pictures and write its weights.

    Args:
        output: Folder of the run.
        steps: Training steps.
        threads: Threads of PyTorch.
        resume: Go on from the checkpoints in the folder.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    task = ClassifierTask(build_classifier())
    config = TrainConfig(
        steps=steps, batch_size=64, optimizer="muon", learning_rate=1e-3, warmup_steps=50, schedule="cosine",
        weight_decay=0.05, clip_norm=1.0, seed=SEED, save_every=250, validate_every=250, log_every=50,
    )  # fmt: skip
    report = fit(task, config, output_dir=output, resume="auto" if resume else False)
    save_file({name: value.half().contiguous() for name, value in task.model.state_dict().items()}, WEIGHTS)
    print(report.metrics)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
