"""A vocoder without learned weights: log-mel spectrogram to waveform by the Griffin-Lim algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from .mel import BINS, HOP, RATE, WINDOW, mel_filters

__all__ = ["GriffinLim", "ModelMixin"]  # diffusers finds the loader of a pipeline's part by this name here


class GriffinLim(ModelMixin, ConfigMixin):
    """A vocoder with the interface of a HiFi-GAN, for use in its stead.

    A HiFi-GAN is a convolution over frames. All frames of a steady tone are equal, so it gives every steady tone the
    period of a frame. Griffin-Lim estimates the phases of the whole clip together and has no such grid.

    Args:
        iterations: Griffin-Lim iterations.
        sharpening: multiplicative updates that resolve mel bands into magnitudes (non-negative factorization, arXiv
            cs/0109029).
        momentum: of the accelerated iteration (Perraudin, Balazs and Sondergaard, 2013).
        model_in_dim: number of mel bands. Pipelines read this and the next two from a vocoder's config.
        sampling_rate: samples per second.
        upsample_rates: their product is the number of samples for each frame.
    """

    @register_to_config
    def __init__(
        self,
        iterations: int = 32,
        sharpening: int = 30,
        momentum: float = 0.99,
        *,
        model_in_dim: int = BINS,
        sampling_rate: int = RATE,
        upsample_rates: Sequence[int] = (HOP,),
    ):
        super().__init__()
        self.filters = nn.Parameter(mel_filters().clone(), requires_grad=False)

    @torch.no_grad()
    def forward(self, spectrogram: Float[Tensor, "n frames bins"]) -> Float[Tensor, "n samples"]:
        """Waveforms of 160 samples for each frame; deterministic."""
        magnitudes = self.resolve(spectrogram.float().exp().transpose(1, 2))
        frames = magnitudes.shape[-1]
        window = torch.hann_window(WINDOW, device=magnitudes.device)
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(1, *magnitudes.shape[1:], generator=generator).to(magnitudes) * (2 * torch.pi)
        spectrum = torch.polar(magnitudes, angles.expand_as(magnitudes))
        length = frames * HOP - HOP // 2  # a frame's middle is half a hop after its start
        before = torch.zeros_like(spectrum)
        for _ in range(self.config.iterations):
            wave = torch.istft(spectrum, WINDOW, HOP, WINDOW, window, length=length)
            now = torch.stft(wave, WINDOW, HOP, WINDOW, window, return_complex=True)[..., :frames]
            moved = now + self.config.momentum * (now - before)
            spectrum, before = magnitudes * moved / moved.abs().clamp(min=1e-9), now
        wave = torch.istft(spectrum, WINDOW, HOP, WINDOW, window, length=length)
        return nn.functional.pad(wave, (HOP // 2, 0)).to(spectrogram.dtype)

    def resolve(self, mel: Float[Tensor, "n bins frames"]) -> Float[Tensor, "n frequencies frames"]:
        """Non-negative magnitudes whose mel bands approximate ``mel``."""
        filters = self.filters.float()
        share = filters.T / filters.sum(1)
        found = share @ mel
        aim = filters.T @ mel
        for _ in range(self.config.sharpening):
            found = found * aim / (filters.T @ (filters @ found)).clamp(min=1e-9)
        return found
