"""A vocoder without learned weights: log-mel spectrogram to waveform by Griffin and Lim's iterations."""

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
    """Takes the place of a HiFi-GAN in a pipeline, with the same interface.

    A HiFi-GAN is a convolution over frames: a steady tone, whose frames are all alike, comes out with the period of a
    frame, whatever its pitch. Phases that are sought for the clip as a whole know no such grid.

    Args:
        iterations: of the search for phases.
        sharpening: multiplicative updates of the magnitudes that mel bands are resolved into (arXiv cs/0109029 has the
            rule for non-negative factors).
        momentum: of the accelerated iteration (Perraudin, Balazs and Sondergaard, 2013).
        model_in_dim: mel bands; with the next two what pipelines ask a vocoder.
        sampling_rate: samples a second.
        upsample_rates: their product is the samples of a frame.
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
        """Waveforms of 160 samples a frame; the same spectrogram gives the same samples."""
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
        """Magnitudes, none negative, whose mel bands are ``mel``."""
        filters = self.filters.float()
        share = filters.T / filters.sum(1)
        found = share @ mel
        aim = filters.T @ mel
        for _ in range(self.config.sharpening):
            found = found * aim / (filters.T @ (filters @ found)).clamp(min=1e-9)
        return found
