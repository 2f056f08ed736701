"""What the tab Sound does: sounds of pictures and videos, made in the worker; no page in here."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("bell", "dog", "train")
"""Of the example pictures: objects that the embedded model knows by sound."""
MOST = 4
"""Candidates at most."""


def listen(
    file: str, model: str, prompt: str, negative_prompt: str, duration: float | None, candidates: int, seed: int,
    film: bool, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Make sounds for a picture or video, the best first; runs in the worker.

    Args:
        file: the picture or video.
        model: generator of sounds.
        prompt: what the sound should be too; empty for nothing.
        negative_prompt: what it should not be.
        duration: seconds; None for the video's own length, or the model's.
        candidates: how many.
        seed: of the noise.
        film: whether ``file`` is a video, which gets the best sound.
        folder: where they go.
    """
    from pipelines import SoundConfig, write_sound, write_spectrogram, write_video

    config = SoundConfig(prompt=prompt.strip() or None, negative_prompt=negative_prompt.strip())
    made = _sonifier(model)(file, duration=duration, candidates=candidates, seed=seed, config=config)
    folder.mkdir(parents=True, exist_ok=True)
    sounds = [folder / ("sound.wav" if i == 0 else f"sound-{i + 1}.wav") for i in range(len(made.audios))]
    for path, wave in zip(sounds, made.audios, strict=True):
        write_sound(path, wave, made.sampling_rate)
    write_spectrogram(folder / "spectrogram.png", made.best[0], made.sampling_rate)
    if film:
        write_video(folder / "film.mp4", file, made.best[0], made.sampling_rate)
    return {
        "sounds": [str(path) for path in sounds],
        "scores": made.scores,
        "spectrogram": str(folder / "spectrogram.png"),
        "film": str(folder / "film.mp4") if film else None,
    }


def seconds_of(file: str) -> float:
    """Length of a video.

    Raises:
        ValueError: it is damaged.
    """
    import av
    import av.error

    try:
        with av.open(file) as container:
            return float((container.duration or 0) / av.time_base)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{Path(file).name} is not a video that can be read; choose another file") from error


def warm(model: str) -> None:
    """Load the models that `listen` needs."""
    _sonifier(model)


def warm_plots() -> None:
    """Load what draws spectrograms; on its own, so that a job need not wait for both."""
    import numpy as np

    from pipelines import write_spectrogram

    with TemporaryDirectory() as folder:
        write_spectrogram(Path(folder) / "silence.png", np.zeros(16_000, dtype=np.float32), 16_000)


@lru_cache(maxsize=2)
def _sonifier(model: str) -> Any:
    from pipelines import Sonifier

    return Sonifier.load(model)


def examples(root: Path) -> list[str]:
    """One picture of each example object, drawn once."""
    from pipelines.nano import world

    folder = root / "examples" / "sounding"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in NAMES]
    for name, path in zip(NAMES, paths, strict=True):
        if not path.is_file():
            world.render_all(world.reference_scenes(name, 1))[0].save(path)
    return [str(path) for path in paths]
