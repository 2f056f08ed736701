"""Networks that judge sounds: embeddings for Frechet distances, class scores for IS, KL and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.hub import resolve

from .clap import Clap
from .files import check_wave, resample
from .mel import mel_filters


@dataclass(frozen=True)
class Features:
    """Outputs of a network for n sounds."""

    embeds: Float[np.ndarray, "m d"]
    """One row for each sound; for a network that embeds stretches of about a second, one for each stretch."""
    logits: Float[np.ndarray, "n c"] | None
    """Class scores before the softmax; None for a network without classes."""


class Extractor(Protocol):
    """A network that judges sounds."""

    name: str
    distance: str
    """Name of Frechet distances between its embeddings."""

    @property
    def classes(self) -> Sequence[str] | None:
        """Names of the classes; None where they differ from the names of the pairs, so that accuracy has no meaning."""
        ...

    def __call__(self, waves: Sequence[Float[np.ndarray, " _samples"]], sampling_rate: int) -> Features:
        """Features of mono sounds at ``sampling_rate``."""
        ...


class ClapExtractor:
    """A ClapModel; its class scores are scaled cosines with the texts "the sound of NAME".

    Args:
        name: for tables.
        clap: the model.
        classes: names; underscores are read as spaces.
    """

    distance = "FD"

    def __init__(self, name: str, clap: Clap, classes: Sequence[str]):
        self.name, self.clap, self.classes = name, clap, list(classes)
        self.texts = clap.embed_texts([f"the sound of {each.replace('_', ' ')}" for each in classes])

    def __call__(self, waves: Sequence[Float[np.ndarray, " _samples"]], sampling_rate: int) -> Features:
        embeds = self.clap.embed_sounds(waves, sampling_rate)
        scale = self.clap.model.logit_scale_a.exp().item()
        return Features(embeds.numpy(), (scale * embeds @ self.texts.T).numpy())


class Cnn14(nn.Module):
    """PANNs' CNN14 (arXiv 1912.10211): six blocks of two convolutions on a log-mel spectrogram, 527 AudioSet classes.

    Args:
        sampling_rate: 32,000 for the published model, 16,000 for its variant.
    """

    widths = (1, 64, 128, 256, 512, 1024, 2048)

    def __init__(self, sampling_rate: int = 32_000):
        super().__init__()
        self.sampling_rate = sampling_rate
        self.window, self.hop = sampling_rate * 4 // 125, sampling_rate // 100
        self.bn0 = nn.BatchNorm2d(64)
        for number, (before, after) in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            block = nn.Module()
            block.conv1, block.bn1 = nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
            block.conv2, block.bn2 = nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
            self.add_module(f"conv_block{number}", block)
        self.fc1, self.fc_audioset = nn.Linear(2048, 2048), nn.Linear(2048, 527)

    def log_mel(self, waves: Float[Tensor, "n samples"]) -> Float[Tensor, "n 1 frames 64"]:
        """Decibels of mel power."""
        size = 1024 if self.sampling_rate == 32_000 else 512
        window = torch.hann_window(size, device=waves.device)
        power = torch.stft(waves, size, self.hop, size, window, pad_mode="reflect", return_complex=True).abs().square()
        highest = 14_000 if self.sampling_rate == 32_000 else 8_000
        mel = mel_filters(self.sampling_rate, size, low=50, high=highest).to(power) @ power
        return 10 * mel.clamp(min=1e-10).log10().transpose(1, 2)[:, None]

    def forward(self, waves: Float[Tensor, "n samples"]) -> tuple[Float[Tensor, "n 2048"], Float[Tensor, "n 527"]]:
        """Embeddings and class scores before the sigmoid."""
        x = self.bn0(self.log_mel(waves).transpose(1, 3)).transpose(1, 3)
        for number in range(1, len(self.widths)):
            block = self.get_submodule(f"conv_block{number}")
            x = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))  # pyright: ignore
            if number < len(self.widths) - 1:
                x = F.avg_pool2d(x, 2)
        x = x.mean(3)
        embeds = F.relu(self.fc1(x.amax(2) + x.mean(2)))
        return embeds, self.fc_audioset(embeds)


class Cnn14Extractor:
    """CNN14 from its published file or a safetensors file of the same tensors; no code in a file is run.

    Raises:
        FileNotFoundError: there is no file ``path``.
        ValueError: it does not hold CNN14.
    """

    classes, distance = None, "FD"

    def __init__(self, path: str | Path):
        self.name = Path(path).stem
        tensors = _tensors(path)
        # The front end has no learned weights, but its size tells the variants apart.
        bins = tensors.get("spectrogram_extractor.stft.conv_real.weight", torch.zeros(513)).shape[0]
        self.model = Cnn14(16_000 if bins == 257 else 32_000).eval()
        ours = self.model.state_dict()
        _load(self.model, {name: value for name, value in tensors.items() if name in ours}, path, "CNN14")

    @torch.no_grad()
    def __call__(self, waves: Sequence[Float[np.ndarray, " _samples"]], sampling_rate: int) -> Features:
        rows = []
        for wave in waves:
            at_rate = resample(check_wave(wave), sampling_rate, self.model.sampling_rate)
            # Five poolings halve the number of frames, so that 32 are needed.
            at_rate = np.pad(at_rate, (0, max(32 * self.model.hop - len(at_rate), 0)))
            rows.append(self.model(torch.from_numpy(at_rate)[None]))
        embeds, logits = (torch.cat(part).numpy() for part in zip(*rows, strict=True))
        return Features(embeds, logits)


class Vggish(nn.Module):
    """VGGish (arXiv 1609.09430) in torchvggish's layout: 128 numbers for each stretch of 0.96 s at 16 kHz.

    Args:
        widths: channels of the six convolutions, units of the two hidden layers, and size of the embeddings.
    """

    sampling_rate, window, hop, frames, bins = 16_000, 400, 160, 96, 64

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 256, 512, 512, 4096, 4096, 128)):
        super().__init__()
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip((1, *widths[:5]), widths[:6], strict=True)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            if number not in (2, 4):
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        sizes = (widths[5] * (self.frames // 16) * (self.bins // 16), *widths[6:])
        first, second, last = (nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.embeddings = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Vggish:
        """A network of the sizes of ``tensors``, which are not loaded into it."""
        names = [f"features.{n}.weight" for n in (0, 3, 6, 8, 11, 13)] + [f"embeddings.{n}.weight" for n in (0, 2, 4)]
        return cls([len(tensors[name]) for name in names])

    def log_mel(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "stretches 1 96 64"]:
        """Logarithms of mel magnitudes; an incomplete stretch at the end is dropped."""
        spectrum = torch.fft.rfft(wave.unfold(0, self.window, self.hop) * torch.hann_window(self.window), 512).abs()
        mel = torch.log(spectrum @ _htk_triangles(spectrum.shape[1]) + 0.01)
        count = len(mel) // self.frames
        return mel[: count * self.frames].view(count, 1, self.frames, self.bins)

    def forward(self, wave: Float[Tensor, " samples"]) -> Float[Tensor, "stretches d"]:
        """Embeddings before the last rectifier; Frechet audio distances are computed from these."""
        return self.embeddings(self.features(self.log_mel(wave)).permute(0, 2, 3, 1).flatten(1))


def _htk_triangles(bins: int) -> Float[Tensor, "bins 64"]:
    """VGGish's mel filters from 125 to 7,500 Hz: triangular in mels, not in hertz; bin 0 has no weight."""

    def mels(hertz: np.ndarray) -> np.ndarray:
        return 1127 * np.log1p(hertz / 700)

    at, edges = mels(np.linspace(0, 8_000, bins))[:, None], np.linspace(*mels(np.array([125, 7_500])), 66)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((at - low) / (middle - low), (high - at) / (high - middle)).clip(0)
    triangles[0] = 0
    return torch.from_numpy(triangles).float()


VGGISH = {f"{part}.{number}.weight" for part, number in [("features", 0), ("features", 13), ("embeddings", 4)]}
"""A file with these tensors holds VGGish."""


class VggishExtractor:
    """VGGish from torchvggish's file or a safetensors file of the same tensors, for the Frechet audio distance (FAD).

    Raises:
        FileNotFoundError: there is no file ``path``.
        ValueError: it does not hold VGGish.
    """

    classes, distance = None, "FAD"

    def __init__(self, path: str | Path):
        self.name = Path(path).stem
        tensors = _tensors(path)
        self.model = Vggish.of(tensors).eval()
        _load(self.model, tensors, path, "VGGish")

    @torch.no_grad()
    def __call__(self, waves: Sequence[Float[np.ndarray, " _samples"]], sampling_rate: int) -> Features:
        shortest = self.model.window + (self.model.frames - 1) * self.model.hop
        rows = []
        for wave in waves:
            at_rate = resample(check_wave(wave), sampling_rate, self.model.sampling_rate)
            at_rate = np.pad(at_rate, (0, max(shortest - len(at_rate), 0)))
            rows.append(self.model(torch.from_numpy(at_rate)))
        return Features(torch.cat(rows).numpy(), None)


def _tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        FileNotFoundError: there is no file ``path``.
        ValueError: the file is damaged or holds more than tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
        return dict(held.get("model", held))
    except (SafetensorError, RuntimeError, AttributeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} holds no readable weights ({str(error).splitlines()[0]})") from error
    except Exception as error:  # the unpickler's own errors, of a module that is not public
        if type(error).__name__ != "UnpicklingError":
            raise
        raise ValueError(
            f"{path} holds more than weights, and such files are not read; save its tensors as .safetensors"
        ) from error


def _load(model: nn.Module, tensors: dict[str, Tensor], path: str | Path, what: str) -> None:
    try:
        model.load_state_dict(tensors)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold the weights of {what} ({reason}); give another file") from error


def load_extractor(path: str | Path, classes: Sequence[str]) -> Extractor:
    """Load a network that judges sounds.

    Args:
        path: folder or id of a ClapModel, or a file with the weights of CNN14 or VGGish.
        classes: names of the sounds to judge, for models with a text encoder.

    Raises:
        FileNotFoundError, ValueError: it cannot be loaded; the message says why.
    """
    if Path(path).suffix in (".pth", ".pt", ".safetensors"):
        return VggishExtractor(path) if VGGISH <= _tensors(path).keys() else Cnn14Extractor(path)
    return ClapExtractor(Path(path).name, Clap.from_folder(resolve(path, "CLAP")), classes)
