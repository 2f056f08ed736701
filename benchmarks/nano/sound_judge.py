"""The judge of nano's sounds: a convolutional classifier, trained on sounds of the same world with another seed.

``python -m benchmarks.nano.sound_judge --output runs/audio_classifier`` trains it and writes
``benchmarks/nano/sound_judge.safetensors``. It shares neither architecture nor data seed nor front end with any
nano model and is not in the wheel: a residual network on bands that are even in octaves, of spectra twice as long as
the models'. Sounds reach it at random loudness, with noise, a tilted spectrum and a little blur, so that it judges what
is heard rather than how clean it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from benchmarks.common.results import RUNS
from mappers.command_line import run_script
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, fit
from pipelines.nano.world.moments import FACTORS, NAMES, Clips
from pipelines.nano.world.sounds import RATE

WEIGHTS = Path(__file__).with_suffix(".safetensors")
SEED = 1_000_003
CLIPS = 1_600
WINDOW, HOP = 2048, 512
"""Samples of the front end's spectra."""
BANDS, LOWEST = 64, 50.0
"""Bands from ``LOWEST`` Hz to the top, even in octaves."""
CHANNELS = (16, 32, 64, 96)
WAYS = 2 * len(NAMES)


def build_classifier() -> nn.Module:
    """A thin ten-layer residual network, 0.3 million weights: object and way to sound, then the hidden factors."""
    return timm.create_model("resnet10t", in_chans=1, num_classes=WAYS + FACTORS, channels=CHANNELS)


def load_classifier() -> nn.Module:
    """The trained judge."""
    model = build_classifier()
    model.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()}, strict=False)
    return model.eval()


def bands_of(waves: Float[Tensor, "n samples"]) -> Float[Tensor, "n 1 bands frames"]:
    """Energies in decibels over those of the clip's loudest moment, cut off 70 below, in -1..1."""
    window = torch.hamming_window(WINDOW, device=waves.device)
    power = torch.stft(waves, WINDOW, HOP, WINDOW, window, return_complex=True).abs().square()
    decibels = 10 * (_filters().to(power) @ power).clamp(min=1e-8).log10()
    loudest = decibels.amax((1, 2), keepdim=True)
    return ((decibels - loudest).clamp(min=-70) / 35 + 1)[:, None]


@cache
def _filters() -> Float[Tensor, "bands bins"]:
    """Triangles over log frequency that reach their neighbours' centres, and at least one bin's width."""
    centres = torch.logspace(0, 1, BANDS, base=RATE / 2 / LOWEST).mul(LOWEST)[:, None]
    octaves = torch.log2(torch.tensor(RATE / 2 / LOWEST)) / (BANDS - 1)
    bins = torch.arange(WINDOW // 2 + 1)[None] * (RATE / WINDOW)
    width = (centres * (2**octaves - 1)).clamp(min=RATE / WINDOW)
    return (1 - (bins - centres).abs() / width).clamp(min=0)


@torch.no_grad()
def judge(
    model: nn.Module, waves: Float[Tensor, "n samples"], *, batch: int = 64
) -> tuple[Float[Tensor, "n 32"], Float[Tensor, "n 3"], Float[Tensor, "n d"]]:
    """Scores of the 32 ways to sound, the hidden factors it hears, and its features."""
    features = torch.cat([model.forward_head(model.forward_features(bands_of(part)), pre_logits=True)
                          for part in waves.split(batch)])  # fmt: skip
    answers = model.get_classifier()(features)
    return answers[:, :WAYS], answers[:, WAYS:], features


def object_scores(ways: Float[Tensor, "n 32"]) -> Float[Tensor, "n 16"]:
    """Logarithms of what the two ways of each object have together."""
    return ways.unflatten(1, (len(NAMES), 2)).logsumexp(2)


class ClassifierTask:
    """Cross-entropy of the way to sound and squared error of the hidden factors."""

    def __init__(self, model: nn.Module, clips: Clips, held_out: Clips):
        self.model, self.clips, self.held_out = model, clips, held_out
        self.modules: Mapping[str, nn.Module] = {"classifier": model}
        self.ways = torch.tensor([moment.sound_class for moment in clips.moments])
        self.factors = torch.tensor([moment.factors for moment in clips.moments])

    def batch(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        rows = draws.integers("clip", len(self.clips)).cpu()
        waves, chance = self.clips.waves(rows).to(draws.device), draws.uniform("spoil", (2,))
        waves = waves + 0.01 * chance[:, :1].square() * draws.normal("noise", waves.shape[1:])
        bands = bands_of(waves)
        slope = torch.linspace(-0.15, 0.15, BANDS, device=draws.device) * draws.normal("tilt", (1,))
        bands = bands + slope[:, None, :, None]
        bands = bands + 0.05 * draws.normal("grain", bands.shape[1:])
        half = len(bands) // 2
        sigma = 0.3 + 0.7 * torch.rand(1, generator=draws.shared_generator("blur")).item()
        bands[:half] = gaussian_blur(bands[:half], [5, 5], [sigma, sigma])
        return bands, self.ways[rows].to(draws.device), self.factors[rows].to(draws.device)

    def loss(self, modules: Prepared, batch: tuple[Tensor, Tensor, Tensor], draws: Draws) -> dict[str, Tensor]:
        bands, ways, factors = batch
        answers = modules["classifier"](bands).float()
        naming, telling = F.cross_entropy(answers[:, :WAYS], ways), F.mse_loss(answers[:, WAYS:], factors)
        return {"loss": naming + telling, "naming": naming, "telling": telling}

    def validate(self, modules: Prepared, step: int) -> dict[str, Any]:
        training = self.model.training
        self.model.eval()
        ways, predicted, _ = judge(
            self.model, self.held_out.waves(slice(None)).to(next(self.model.parameters()).device)
        )
        self.model.train(training)
        right = ways.argmax(1).cpu() == torch.tensor([moment.sound_class for moment in self.held_out.moments])
        objects = ways.argmax(1).cpu() // 2 == torch.tensor(
            [moment.sound_class // 2 for moment in self.held_out.moments]
        )
        size = torch.stack(
            [predicted[:, 0].cpu(), torch.tensor([moment.factors[0] for moment in self.held_out.moments])]
        )
        return {
            "way": right.float().mean().item(),
            "object": objects.float().mean().item(),
            "size_correlation": torch.corrcoef(size)[0, 1].item(),
        }


def main(*, output: Path = RUNS / "audio_classifier", clips: Path = RUNS / "nano_audio_clips", steps: int = 320,
         threads: int = 1, resume: bool = False) -> None:  # fmt: skip
    """Train the judge of nano's sounds and write its weights.

    Args:
        output: Folder of the run.
        clips: Folder of the rendered sounds.
        steps: Training steps.
        threads: Threads of PyTorch.
        resume: Go on from the checkpoints in the folder.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    task = ClassifierTask(
        build_classifier(), Clips(clips, CLIPS, SEED), Clips(clips, 256, SEED + 1)
    )  # fmt: skip
    config = TrainConfig(
        steps=steps, batch_size=32, optimizer="muon", learning_rate=1e-3, warmup_steps=50, schedule="cosine",
        weight_decay=0.05, clip_norm=1.0, seed=SEED, save_every=200, validate_every=200, log_every=50,
    )  # fmt: skip
    report = fit(task, config, output_dir=output, resume="auto" if resume else False)
    save_file({name: value.half().contiguous() for name, value in task.model.state_dict().items()}, WEIGHTS)
    print(report.metrics)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
