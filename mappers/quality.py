"""Peak signal-to-noise ratio: the one definition that every capability uses."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

LEAST_ERROR = 1e-10
"""Mean squared error, relative to the squared peak, below which all pictures count as equal: their PSNR is 100 dB."""

Error = TypeVar("Error", float, Tensor)


def psnr_of(squared_error: Error, *, peak: float = 1.0) -> Error:
    """PSNR in dB of mean squared errors: 10 log10(peak² / error), at most 100.

    Args:
        squared_error: one mean squared error, or a tensor of them; gradients pass through a tensor.
        peak: difference between the greatest and the least value that the medium can have.
    """
    if isinstance(squared_error, Tensor):
        return -10 * (squared_error / peak**2).clamp(min=LEAST_ERROR).log10()
    return -10 * math.log10(max(squared_error / peak**2, LEAST_ERROR))


def psnr(
    values: Shaped[Tensor, " ..."] | Shaped[np.ndarray, " ..."],
    truth: Shaped[Tensor, " ..."] | Shaped[np.ndarray, " ..."],
    *,
    peak: float | None = None,
) -> float:
    """PSNR in dB between two tensors or two arrays of one shape, over all their values; 100 for equal ones.

    Args:
        values: what is measured; values outside 0..peak count as the nearer end, as a screen shows them.
        truth: what it is compared with, in 0..peak.
        peak: the greatest value; None takes 255 for bytes and 1 for everything else.
    """
    if isinstance(values, Tensor) and isinstance(truth, Tensor):
        peak = _peak(truth.dtype == torch.uint8) if peak is None else peak
        error = (values.float().clamp(0, peak) - truth.float()).square().mean()
        return float(psnr_of(error, peak=peak))
    peak = _peak(np.asarray(truth).dtype == np.uint8) if peak is None else peak
    wide, wide_truth = np.asarray(values, np.float64), np.asarray(truth, np.float64)
    return psnr_of(float(np.square(wide.clip(0, peak) - wide_truth).mean()), peak=peak)


def _peak(bytes_: bool) -> float:
    return 255.0 if bytes_ else 1.0
