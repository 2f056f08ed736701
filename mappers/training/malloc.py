"""The C library's allocator, set for training on a CPU."""

from __future__ import annotations

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's ``mallopt``."""
LARGEST, KEPT = 1 << 30, (1 << 31) - 1
"""Bytes up to which a block is taken from the heap, and that may lie free at the heap's end."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors free. Returns whether that is so: only glibc offers it.

    By default glibc asks the system for every block of more than 32 MiB and gives it back at once. A training step
    frees and takes the same blocks again, and each time the system clears every page of them: with a low-rank tensor of
    17 million weights that is two thirds of a step (``benchmarks/app/allocation.py``).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*one) for one in ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, KEPT)))
