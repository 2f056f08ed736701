"""One self-contained page that shows Gaussians in a browser, also offline and opened from a disk."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from string import Template

import numpy as np

from .antimatter import write_splat
from .gaussians import Gaussians

SHOWN = 0.99
"""Share of the means that lie in the sphere which the first view shows."""


def write_page(gaussians: Gaussians) -> bytes:
    """The page's bytes: the viewer with the Gaussians inside, as a ``.splat`` file holds them.

    Colours do not depend on the direction.
    """
    center = np.median(gaussians.means, axis=0)
    radius = float(np.quantile(np.linalg.norm(gaussians.means - center, axis=-1), SHOWN)) or 1.0
    template = Template((Path(__file__).parent / "viewer.html").read_text(encoding="utf-8"))
    page = template.safe_substitute(
        TITLE="Gaussian splats",
        BACKGROUND="white",
        COUNT=f"{len(gaussians.means):,}",
        DATA=base64.b64encode(write_splat(gaussians)).decode("ascii"),
        CENTER=json.dumps(center.round(6).tolist()),
        RADIUS=json.dumps(round(radius, 6)),
    )
    return page.encode("utf-8")
