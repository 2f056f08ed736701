"""Sounds: mono or stereo at 16 kHz. A stereo sound is coded as its middle channel, followed by its side channel."""

from __future__ import annotations

import itertools
import logging
import wave
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from jaxtyping import Float, UInt16

from mappers.files import refuse_taken, replacing
from mappers.videos import tracks

from ..container.bitstream import LARGEST_AXIS, STEREO, Item
from ..description import Box, Modality
from .modality import Datum, Sound, refuse_ending

logger = logging.getLogger(__name__)

RATE = 16000
"""Samples per second of every coded sound."""


class SoundCodec:
    """Codec of sounds; a point is a sample in time (arXiv 2309.17182, section 4.2)."""

    modality: Modality = "sound"
    steps = 65535
    endings = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac")
    ending = ".wav"

    def read(self, path: Path) -> Sound:
        """A file's first audio track, resampled to :data:`RATE`.

        Raises:
            ValueError: it is damaged, empty, or has more than two channels.
        """
        try:
            with av.open(str(path)) as file:
                if not (found := tracks(file, "audio")):
                    raise ValueError(f"{path} has no audio track that can be read; give a whole sound file")
                stream = found[0]
                if stream.rate > RATE:
                    logger.warning("%s has %d samples per second and is coded with %d", path, stream.rate, RATE)
                if stream.channels > 2:
                    raise ValueError(f"{path} has {stream.channels} channels; mix it down to mono or stereo")
                _check_length(str(path), (file.duration or 0) / av.time_base * RATE, stream.channels)
                layout = "stereo" if stream.channels == 2 else "mono"
                resampler = av.AudioResampler(format="fltp", layout=layout, rate=RATE)
                parts: list[np.ndarray] = []
                count = 0
                for frame in itertools.chain(file.decode(stream), [None]):
                    new = [part.to_ndarray() for part in resampler.resample(frame)]
                    parts += new
                    count += sum(part.shape[1] for part in new)
                    _check_length(str(path), count, stream.channels)
        except av.error.FFmpegError as error:
            raise ValueError(f"{path} cannot be read as a sound ({error.strerror}); give a whole file") from None
        if not count:
            raise ValueError(f"{path} holds no samples; give a longer sound")
        return Sound(np.concatenate(parts, 1).T.astype(np.float32), RATE)

    def to_datum(self, media: Sound) -> Datum:
        """Values of a mono sound, [1, n], or of the middle and side channel of a stereo sound in turn, [1, 2 n].

        Raises:
            ValueError: the sound has another rate, more than two channels, no samples, or samples that are not finite.
        """
        samples = np.asarray(media.samples, np.float32)
        if media.rate != RATE or samples.ndim != 2 or samples.shape[1] not in (1, 2) or not len(samples):
            raise ValueError(
                f"a sound must be [samples, 1 or 2] at {RATE} Hz, got {samples.shape} at {media.rate} Hz; resample it"
            )
        if not np.isfinite(samples).all():
            raise ValueError("the sound has samples that are not finite; repair it")
        stereo = samples.shape[1] == 2
        _check_length("the sound", len(samples), samples.shape[1])
        rows = [samples.mean(1), (samples[:, 0] - samples[:, 1]) / 2] if stereo else [samples[:, 0]]
        given = np.concatenate(rows)[None]
        outside = int((np.abs(samples) > 1).sum())
        if outside:
            logger.warning("%d of %d samples lie outside -1..1 and are clipped", outside, samples.size)
        original = (given.astype(np.float64) + 1) / 2 * self.steps if outside else None
        return Datum(torch.from_numpy(given.clip(-1, 1) / 2), STEREO if stereo else 0, original=original)

    def from_samples(self, samples: UInt16[np.ndarray, "1 n"], item: Item, box: Box) -> Sound:
        """The sound of samples 0..65535, rounded to 16 bits."""
        row = samples[0].astype(np.float64) * 2 / self.steps - 1
        columns = [row]
        if item.flags & STEREO:
            middle, sides = np.split(row, 2)
            columns = [middle + sides, middle - sides]
        return Sound((integers(np.stack(columns, 1)) / 32768).astype(np.float32), RATE)

    def check_output(self, path: Path, *, overwrite: bool) -> None:
        """Refuse a name that does not end in .wav, and to replace a file."""
        refuse_ending(path, (".wav",), "a sound")
        refuse_taken(path, overwrite=overwrite)

    def write(self, media: Sound, path: Path) -> None:
        """Write a WAV file of 16 bits."""
        refuse_ending(path, (".wav",), "a sound")
        with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
            file.setnchannels(media.samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(media.rate)
            file.writeframes(integers(media.samples).tobytes())


def _check_length(name: str, count: float, channels: int) -> None:
    """Refuse a sound that is too long; ``count`` is its samples in time.

    Raises:
        ValueError: it has more samples than a file holds; the message says how many minutes that is.
    """
    most = LARGEST_AXIS // channels
    if count > most:
        minutes = most / RATE / 60
        raise ValueError(
            f"{name} lasts {count / RATE / 60:.1f} minutes, but a file holds at most {minutes:.1f} minutes of"
            f" {'mono' if channels == 1 else 'stereo'}; cut it into parts"
        )


def integers(samples: Float[np.ndarray, "n channels"]) -> np.ndarray:
    """Samples -1..1 as 16-bit integers, little-endian."""
    return np.rint(samples.astype(np.float64) * 32768).clip(-32768, 32767).astype("<i2")
