"""Generates sound files for picture and video files: ``mapfield vision-to-audio``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mappers.files import check_outputs, files_in, writable_folder
from mappers.options import declared_by
from mappers.pictures import PICTURE_ENDINGS, VIDEO_ENDINGS

from .files import write_sound, write_spectrogram, write_video
from .generation import Sonifier
from .options import FileOptions, SoundOptions
from .settings import SoundConfig

logger = logging.getLogger(__name__)

SPECTROGRAM = ".spectrogram.png"
"""How the names of pictures of spectrograms end; in a folder such pictures get no sound."""


@dataclass(frozen=True)
class SoundJob:
    """A picture or video file, and the files to write for it."""

    source: Path
    output: Path
    spectrogram: Path | None
    """None: no picture of the spectrogram is written."""


@declared_by(FileOptions)
def sound_jobs(
    source: str | Path, output: str | Path, *, spectrogram: bool = True, overwrite: bool = False
) -> list[SoundJob]:
    """Plan the files that `sonify_files` writes, and check all that can be checked without a model.

    Returns:
        At least one job.

    Raises:
        FileNotFoundError, ValueError: there is no input, or the output has the wrong ending.
        FileExistsError: a file would be replaced; see `mappers.files.check_outputs`.
        OSError: the output cannot be written.
    """
    pairs = _pairs(Path(source).expanduser(), Path(output).expanduser())
    jobs = [SoundJob(path, to, to.with_suffix(SPECTROGRAM) if spectrogram else None) for path, to in pairs]
    written = [path for job in jobs for path in (job.output, job.spectrogram) if path is not None]
    check_outputs(written, inputs=[job.source for job in jobs], overwrite=overwrite)
    writable_folder(jobs[0].output.parent)
    return jobs


@declared_by(SoundOptions)
def sonify_files(
    sonifier: Sonifier,
    jobs: Sequence[SoundJob],
    *,
    duration: float | None = None,
    candidates: int = 1,
    seed: int = 0,
    config: SoundConfig | None = None,
) -> Iterator[Path]:
    """Write the best sound for each file and yield the paths written.

    Of several files, unusable ones are named in a warning and left out.

    Args:
        sonifier: generates the sounds.
        jobs: what `sound_jobs` planned.
        config: all other settings.

    Raises:
        FileNotFoundError, ValueError, OSError: a single file cannot be used or written.
        RuntimeError: some of several files were left out; the others are written.
    """
    failed = 0
    for job in jobs:
        try:
            sounds = sonifier(job.source, duration=duration, candidates=candidates, seed=seed, config=config)
            wave, rate = sounds.best[0], sounds.sampling_rate
            if job.output.suffix.lower() == ".mp4":
                write_video(job.output, job.source, wave, rate)
            else:
                write_sound(job.output, wave, rate)
            if job.spectrogram is not None:
                write_spectrogram(job.spectrogram, wave, rate, title=job.source.name)
        except (ValueError, FileNotFoundError) as error:
            if len(jobs) == 1:
                raise
            logger.warning("left out: %s", error)
            failed += 1
            continue
        yield job.output
    if failed:
        raise RuntimeError(f"{failed} of {len(jobs)} files could not be used; the others are written")


def _pairs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Pairs of input file and output file.

    Raises:
        FileNotFoundError, ValueError: there is no input, or the output has the wrong ending.
    """
    if source.is_dir():
        if output.suffix.lower() in (".wav", ".flac", ".mp4"):
            raise ValueError(f"{source} is a folder, so the output must be one too, got {output.name}")
        endings = (*PICTURE_ENDINGS, *VIDEO_ENDINGS)
        files = [path for path in files_in(source, endings) if not path.name.endswith(SPECTROGRAM)]
        if not files:
            raise ValueError(f"there are no pictures or videos in {source}")
        pairs = [(path, output / path.with_suffix(_ending(path)).name) for path in files]
        names = [target for _, target in pairs]
        # Where two inputs differ in their ending only, every output keeps the ending in its name.
        return pairs if len(set(names)) == len(names) else [(p, output / f"{p.name}{_ending(p)}") for p in files]
    if not source.is_file():
        raise FileNotFoundError(f"there is no picture, video or folder {source}")
    video = source.suffix.lower() in VIDEO_ENDINGS
    allowed = (".wav", ".flac", ".mp4") if video else (".wav", ".flac")
    if output.suffix.lower() not in allowed:
        raise ValueError(f"the output for {source.name} must end in {', '.join(allowed)}, got {output.name}")
    return [(source, output)]


def _ending(path: Path) -> str:
    return ".mp4" if path.suffix.lower() in VIDEO_ENDINGS else ".wav"
