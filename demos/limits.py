"""What one visitor may ask of the app, and how long it keeps what was made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

UPLOAD_MEGABYTES = 20
"""Size of an uploaded file at most; Gradio's server checks it while a file arrives."""
LONGEST_TEXT = 500
"""Characters of a prompt at most."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one visitor may ask of the app, and how long it keeps what was made."""

    job_seconds: float = 900.0
    """Seconds that a job may run; then it is stopped."""
    jobs: int = 3
    """Jobs of one visitor that may wait or run at the same time."""
    megapixels: float = 25.0
    """Megapixels of an uploaded picture at most."""
    sound_seconds: float = 30.0
    """Seconds of an uploaded video, and of a sound that is asked for, at most."""
    keep_hours: float = 168.0
    """Hours after which results and uploads are deleted."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{field.name} must be a positive number, got {value}")

    @property
    def kept(self) -> str:
        """How long results are kept, in words."""
        days, hours = divmod(self.keep_hours, 24)
        if days and not hours:
            return f"{days:.0f} day{'s' if days > 1 else ''}"
        return f"{self.keep_hours:g} hour{'s' if self.keep_hours != 1 else ''}"
