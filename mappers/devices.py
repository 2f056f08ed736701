"""Where to compute when the user does not say."""

from __future__ import annotations

import os

import torch


def default_device() -> torch.device:
    """The accelerator of this process when there is one (CUDA, Apple's MPS, XPU), or else the CPU.

    Of several processes each takes its own. The environment variable ``ACCELERATE_USE_CPU=true``, which ``accelerate
    launch --cpu`` sets, chooses the CPU.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes") or not torch.accelerator.is_available():
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator()
    assert found is not None
    return torch.device(found.type, int(os.environ.get("LOCAL_RANK", "0")))
