"""Random files and command lines, and what may come of them: what was asked for, or one sentence that says why not."""

from __future__ import annotations

import random

from . import commands, guard, killed, pictures, trial

__all__ = ["commands", "guard", "killed", "pictures", "random", "trial"]
