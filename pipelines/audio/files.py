"""Reads sounds and videos of many formats; writes .wav, .flac, .mp4 and pictures of spectrograms."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from jaxtyping import Float
from PIL import Image

from mappers.extras import extra
from mappers.files import replacing
from mappers.videos import shown, tracks, upright

logger = logging.getLogger(__name__)

SOUND_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aac", ".opus", ".aiff"}
MP4_CODECS = {"h264", "hevc", "mpeg4", "av1"}
"""Video codecs that are copied from one mp4 file to another; all others are encoded again."""
SILENCE = 1e-4
"""A sound whose largest absolute sample is below this (-80 dB) is silent."""

Wave = Float[np.ndarray, " samples"]


def read_sound(path: str | Path, sampling_rate: int) -> Wave:
    """The sound of a sound or video file: float32, mono, at ``sampling_rate``.

    Mono is the mean of the channels; or the first one, where channels of opposite phase cancel in the mean.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, has no sound, no samples, or samples that are not finite numbers.
    """
    path = _existing(path)
    pieces, rate = [], 0
    try:
        with av.open(str(path)) as container:
            if not (found := tracks(container, "audio")):
                raise ValueError(f"{path} has no sound; choose a file with an audio track")
            stream = found[0]
            rate = stream.rate
            to_float = av.AudioResampler(format="fltp")
            for frame in container.decode(stream):
                pieces += [part.to_ndarray() for part in to_float.resample(frame)]
    except (av.error.FFmpegError, EOFError) as error:
        raise ValueError(f"{path} is damaged or not a sound file ({error.strerror}); replace or remove it") from error
    channels = np.concatenate(pieces, 1) if pieces else np.zeros((1, 0))
    if not channels.size:
        raise ValueError(f"{path} holds no samples; replace or remove it")
    mono = check_wave(channels.mean(0), str(path))
    return resample(check_wave(channels[0]) if is_silent(mono) else mono, rate, sampling_rate)


def check_wave(wave: np.ndarray, name: str = "a sound") -> Wave:
    """``wave`` as float32.

    Raises:
        ValueError: it is not mono, empty, or has samples that are not finite numbers.
    """
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"{name} must be one row of at least one sample, got the shape {list(wave.shape)}")
    if not np.isfinite(wave).all():
        raise ValueError(f"{name} has samples that are not finite numbers; replace or remove it")
    return wave


def is_silent(wave: Wave) -> bool:
    """Whether the largest absolute sample is below `SILENCE`."""
    return bool(np.abs(wave).max() < SILENCE)


def resample(wave: Wave, rate: int, wanted: int) -> Wave:
    """``wave`` at another sampling rate. All code uses this one resampler, because metrics depend on it."""
    if rate == wanted:
        return wave
    with extra("audio"):
        import soxr

    samples = math.ceil(len(wave) * wanted / rate)
    found = soxr.resample(wave, rate, wanted, quality="HQ")[:samples]
    return np.pad(found, (0, samples - len(found))).astype(np.float32)


@dataclass(frozen=True)
class Frames:
    """Pictures of a video, evenly spaced in time."""

    pictures: list[Image.Image]
    times: list[float]
    """Of each picture, in seconds from the first frame."""
    seconds: float
    """Length of the whole video."""


def read_frames(path: str | Path, *, per_second: float = 4.0) -> Frames:
    """Frames of a video file, about ``per_second`` of them for each second and at least one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has no pictures.
    """
    path = _existing(path)
    if not per_second > 0:
        raise ValueError(f"per_second must be positive, got {per_second}")
    pictures: list[Image.Image] = []
    times: list[float] = []
    end = 0.0
    try:
        with av.open(str(path)) as container:
            if not (found := tracks(container, "video")):
                raise ValueError(f"{path} has no pictures that can be read; choose a file with a video track")
            stream = found[0]
            step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
            start: float | None = None
            for number, frame in enumerate(container.decode(stream)):
                at = frame.time if frame.time is not None else number * step
                start = at if start is None else start
                if at - start >= len(pictures) / per_second - step / 2:
                    pictures.append(Image.fromarray(upright(frame)))
                    times.append(at - start)
                end = max(end, at - start + step)
    except (av.error.FFmpegError, EOFError) as error:
        if not pictures:
            raise ValueError(f"{path} is damaged or not a video ({error.strerror}); replace or remove it") from error
        logger.warning("%s is damaged after %.2f seconds; only the part before is used", path, end)
    if not pictures:
        raise ValueError(f"{path} has no frames; replace or remove it")
    return Frames(pictures, times, end)


def write_sound(path: str | Path, wave: Wave, sampling_rate: int) -> None:
    """Write ``wave`` as a 16-bit file, PCM (``.wav``) or lossless (``.flac``).

    Samples outside -1..1 are cut, and a warning says how many.

    Raises:
        ValueError: another ending, or an unusable wave.
        OSError: the file cannot be written.
    """
    with extra("audio"):
        import soundfile

    path = Path(path)
    if path.suffix.lower() not in (".wav", ".flac"):
        raise ValueError(f"sounds are written as .wav or .flac, got {path.name}; choose one of these endings")
    wave = _cut(check_wave(wave), path)
    with replacing(path) as temporary:
        try:
            soundfile.write(temporary, wave, sampling_rate, subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(error.error_string) from error


def _cut(wave: Wave, path: Path) -> Wave:
    """``wave`` within -1..1, with a warning where it was not."""
    beyond = float((np.abs(wave) > 1).mean())
    if beyond:
        logger.warning("%.2g %% of the samples of %s exceed -1..1 and are cut; lower its level", 100 * beyond, path)
    return wave.clip(-1, 1)


def write_video(path: str | Path, video: str | Path, wave: Wave, sampling_rate: int) -> None:
    """Write an mp4 file with the pictures of ``video`` and ``wave`` as its sound (AAC).

    The wave should be as long as the video; its length decides that of the sound.

    Raises:
        ValueError: another ending, an unusable wave, or a video without pictures.
        OSError: the file cannot be written.
    """
    path, video = Path(path), _existing(video)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4, got {path.name}")
    wave = _cut(check_wave(wave), path)
    with replacing(path) as temporary:
        try:
            with av.open(str(video)) as source, av.open(str(temporary), "w", format="mp4") as target:
                _mux(source, target, wave, sampling_rate)
        except av.error.FFmpegError as error:
            raise OSError(error.strerror) from error


def _mux(source: av.container.InputContainer, target: av.container.OutputContainer, wave: Wave, rate: int) -> None:
    if not (found := tracks(source, "video")):
        raise ValueError(f"{source.name} has no pictures that can be read; choose a file with a video track")
    pictures = found[0]
    # Packets of other containers lack the decoding times that mp4 needs.
    copied = pictures.codec_context.name in MP4_CODECS and "mp4" in source.format.name
    if copied:
        video = target.add_stream_from_template(pictures)
    else:
        # Frames of uneven distance keep their times; without B-frames the header's length is that of the last one too.
        video = target.add_stream("libx264", rate=pictures.average_rate or 25, options={"bf": "0"})
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = video.time_base = pictures.time_base
    sound = target.add_stream("aac", rate=rate, layout="mono")
    if copied:
        for packet in source.demux(pictures):
            if packet.dts is not None:  # the last packet only flushes
                packet.stream = video
                target.mux(packet)
    else:
        for number, frame in enumerate(source.decode(pictures)):
            whole = shown(frame)
            if number == 0:
                # H.264 stores colour at half the size: sides must be even.
                video.width, video.height = (max(side // 2 * 2, 2) for side in (whole.width, whole.height))
            picture = whole.reformat(video.width, video.height, "yuv420p")
            picture.pts, picture.time_base = frame.pts, frame.time_base
            picture.pict_type = 0  # the encoder chooses key frames itself
            target.mux(video.encode(picture))
        target.mux(video.encode())
    size = sound.codec_context.frame_size or 1024
    for first in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(wave[None, first : first + size], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        target.mux(sound.encode(frame))
    target.mux(sound.encode())


def write_spectrogram(path: str | Path, wave: Wave, sampling_rate: int, title: str = "") -> None:
    """Write a picture of the mel spectrogram of ``wave``, 64 bands in decibels, as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    import matplotlib.figure

    from .mel import band_centres, decibels

    wave = check_wave(wave)
    figure = matplotlib.figure.Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    extent = (0, len(wave) / sampling_rate, 0, 64)
    shown = axes.imshow(decibels(wave, sampling_rate), origin="lower", aspect="auto", extent=extent)
    bands = band_centres(sampling_rate / 2)
    axes.set_yticks([8, 24, 40, 56], [f"{bands[band]:.0f}" for band in (8, 24, 40, 56)])
    axes.set(xlabel="seconds", ylabel="Hz")
    axes.set_title(title, parse_math=False)
    figure.colorbar(shown, label="dB")
    with replacing(path) as temporary, warnings.catch_warnings():
        # A title may be a file's name, of any characters; those that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(temporary, dpi=100, format="png")


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; copy it again")
    return path
