"""Generates sound files for picture and video files: ``mapfield vision-to-audio``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from mappers.files import writable_folder
from mappers.options import declared_by
from mappers.pictures import PICTURE_ENDINGS, VIDEO_ENDINGS

from .files import write_sound, write_spectrogram, write_video
from .generation import Sonifier
from .options import FileOptions, SoundOptions
from .settings import SoundConfig

logger = logging.getLogger(__name__)


@declared_by(FileOptions, SoundOptions)
def sonify_files(
    sonifier: Sonifier,
    source: Path,
    output: Path,
    *,
    duration: float | None = None,
    candidates: int = 1,
    seed: int = 0,
    config: SoundConfig | None = None,
    spectrogram: bool = True,
) -> Iterator[Path]:
    """Write the best sound for each file and yield the paths written.

    Unusable files of a folder are named in a warning and left out.

    Args:
        sonifier: generates the sounds.
        config: all other settings.

    Raises:
        FileNotFoundError, ValueError, OSError: a single file cannot be used or written.
        RuntimeError: files of a folder were left out; the others are written.
    """
    jobs = _jobs(Path(source).expanduser(), Path(output).expanduser())
    failed = 0
    for path, target in jobs:
        try:
            writable_folder(target.parent)
            sounds = sonifier(path, duration=duration, candidates=candidates, seed=seed, config=config)
            wave, rate = sounds.best[0], sounds.sampling_rate
            if target.suffix.lower() == ".mp4":
                write_video(target, path, wave, rate)
            else:
                write_sound(target, wave, rate)
            if spectrogram:
                write_spectrogram(target.with_suffix(".spectrogram.png"), wave, rate, title=path.name)
        except (ValueError, FileNotFoundError) as error:
            if len(jobs) == 1:
                raise
            logger.warning("left out: %s", error)
            failed += 1
            continue
        yield target
    if failed:
        raise RuntimeError(f"{failed} of {len(jobs)} files could not be used; the others are written")


def _jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Pairs of input file and output file.

    Raises:
        FileNotFoundError, ValueError: there is no input, or the output has the wrong ending.
    """
    if source.is_dir():
        if output.suffix.lower() in (".wav", ".flac", ".mp4"):
            raise ValueError(f"{source} is a folder, so the output must be one too, got {output.name}")
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in (*PICTURE_ENDINGS, *VIDEO_ENDINGS))
        if not files:
            raise ValueError(f"there are no pictures or videos in {source}")
        jobs = [(path, output / path.with_suffix(_ending(path)).name) for path in files]
        names = [target for _, target in jobs]
        # Where two inputs differ in their ending only, every output keeps the ending in its name.
        return jobs if len(set(names)) == len(names) else [(p, output / f"{p.name}{_ending(p)}") for p in files]
    if not source.is_file():
        raise FileNotFoundError(f"there is no picture, video or folder {source}")
    video = source.suffix.lower() in VIDEO_ENDINGS
    allowed = (".wav", ".flac", ".mp4") if video else (".wav", ".flac")
    if output.suffix.lower() not in allowed:
        raise ValueError(f"the output for {source.name} must end in {', '.join(allowed)}, got {output.name}")
    if output.exists() and output.samefile(source):
        raise ValueError(f"the output {output} is the input; choose another name")
    return [(source, output)]


def _ending(path: Path) -> str:
    return ".mp4" if path.suffix.lower() in VIDEO_ENDINGS else ".wav"
