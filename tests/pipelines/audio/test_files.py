"""Sounds and videos in files, good and bad."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from pipelines.audio import files
from pipelines.audio.mel import mel_filters


def tone(rate: int, seconds: float = 0.5, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def write_clip(path: Path, frames: int, *, fps: int = 25, codec: str = "mpeg4", sound: bool = False) -> Path:
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        audio = target.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=16000) if sound else None
        for number in range(frames):
            pixels = np.full((32, 48, 3), number * 255 // max(frames - 1, 1), dtype=np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(stream.encode())
        if audio is not None:
            samples = (tone(16000, frames / fps) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 16000
            target.mux(audio.encode(frame))
            target.mux(audio.encode())
    return path


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_sound_comes_back_to_16_bits(ending: str, tmp_path: Path) -> None:
    wave = tone(16_000)
    files.write_sound(tmp_path / f"a.{ending}", 3 * wave, 16_000)
    info = soundfile.info(tmp_path / f"a.{ending}")
    assert (info.subtype, info.samplerate, info.channels, info.frames) == ("PCM_16", 16_000, 1, 8_000)
    back = files.read_sound(tmp_path / f"a.{ending}", 16_000)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, (3 * wave).clip(-1, 1), atol=1e-4)


def test_stereo_and_other_rates_become_mono_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    wave = tone(44_100)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, np.zeros_like(wave)], 1), 44_100)
    back = files.read_sound(tmp_path / "a.wav", 16_000)
    assert len(back) == 8_000
    np.testing.assert_allclose(back[500:-500], tone(16_000)[500:-500] / 2, atol=2e-3)


def test_unusable_sounds_are_one_sentence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.full(2_000, np.nan, dtype=np.float32), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    (tmp_path / "noise.wav").write_bytes(os.urandom(2_000))
    (tmp_path / "empty.wav").write_bytes(b"")
    mute = write_clip(tmp_path / "mute.mp4", 5)
    for name, message in (
        ("nan.wav", "not finite numbers"),
        ("none.wav", "holds no samples"),
        ("noise.wav", "is damaged or not a sound file"),
        ("empty.wav", "is empty; copy it again"),
        (mute.name, "has no sound; choose a file with an audio track"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            files.read_sound(tmp_path / name, 16_000)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        files.read_sound(tmp_path / "x.wav", 16_000)
    with pytest.raises(ValueError, match="written as .wav or .flac, got a.mp3"):
        files.write_sound(tmp_path / "a.mp3", tone(16_000), 16_000)
    with pytest.raises(ValueError, match="not finite"):
        files.write_sound(tmp_path / "a.wav", np.full(9, np.inf), 16_000)
    assert files.is_silent(np.full(100, 5e-5, dtype=np.float32))
    assert not files.is_silent(tone(16_000))


def test_channels_of_opposite_phase_are_no_silence(tmp_path: Path) -> None:
    wave = tone(16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], 1), 16_000)
    np.testing.assert_allclose(files.read_sound(tmp_path / "a.wav", 16_000), wave, atol=1e-4)


def test_samples_that_are_cut_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.write_sound(tmp_path / "a.wav", tone(16_000), 16_000)
    assert not caplog.text
    files.write_sound(tmp_path / "b.wav", np.float32([0.5, 1.5, -2, 0]), 16_000)
    assert "50 % of the samples of" in caplog.text
    assert "b.wav exceed -1..1 and are cut; lower its level" in caplog.text


def test_nothing_needs_librosa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles at its import and needs a folder to cache that in, which containers often do not have."""
    for name in ("librosa", "numba"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(files.resample(tone(44_100), 44_100, 16_000)) == 8_000
    files.write_spectrogram(tmp_path / "a.png", tone(16_000), 16_000)
    assert mel_filters.__wrapped__(32_000, 1024, low=50, high=14_000).shape == (64, 513)


def test_resampling_is_that_of_librosa() -> None:
    import librosa

    for rate, wanted in ((44_100, 16_000), (16_000, 32_000), (8_000, 11_025)):
        expected = librosa.resample(tone(rate), orig_sr=rate, target_sr=wanted, res_type="soxr_hq")
        np.testing.assert_array_equal(files.resample(tone(rate), rate, wanted), expected)


def test_frames_are_evenly_spaced_whatever_the_container(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mjpeg")):
        path = write_clip(tmp_path / name, 50, codec=codec) if codec != "mjpeg" else write_clip(tmp_path / name, 50)
        frames = files.read_frames(path, per_second=5)
        assert frames.seconds == pytest.approx(2.0, abs=0.01)
        np.testing.assert_allclose(frames.times, np.arange(10) / 5, atol=0.03)
        shades = [np.asarray(picture).mean() for picture in frames.pictures]
        assert shades == sorted(shades)
    assert len(files.read_frames(tmp_path / "a.mp4", per_second=0.1).pictures) == 1


def test_videos_without_pictures_are_one_sentence(tmp_path: Path) -> None:
    files.write_sound(tmp_path / "a.wav", tone(16_000), 16_000)
    (tmp_path / "sound.mp4").write_bytes((tmp_path / "a.wav").read_bytes())
    (tmp_path / "noise.mp4").write_bytes(os.urandom(3_000))
    for name, message in (("sound.mp4", "has no pictures"), ("noise.mp4", "is damaged or not a video")):
        with pytest.raises(ValueError, match=message):
            files.read_frames(tmp_path / name)
    whole = write_clip(tmp_path / "whole.mkv", 50, codec="libx264").read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    assert files.read_frames(tmp_path / "half.mkv").pictures


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg2video")])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_muxed_video_has_picture_and_sound_of_one_length(name: str, codec: str, rate: int, tmp_path: Path) -> None:
    source = write_clip(tmp_path / name, 37, codec=codec)
    seconds = files.read_frames(source).seconds
    files.write_video(tmp_path / "o.mp4", source, tone(rate, seconds), rate)
    with av.open(str(tmp_path / "o.mp4")) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert sum(1 for _ in container.decode(video=0)) == 37
    assert abs(lengths[0] - lengths[1]) < 1 / 25
    back = files.read_sound(tmp_path / "o.mp4", rate)
    assert np.corrcoef(back[: len(tone(rate, 1))], tone(rate, 1))[0, 1] > 0.98
    with pytest.raises(ValueError, match="written as .mp4"):
        files.write_video(tmp_path / "o.avi", source, tone(rate), rate)


def test_frames_of_uneven_distance_keep_their_times(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 0.5, 1.0, 1.1, 1.2, 2.5, 3.5, 4.0]
    unit = Fraction(1, 1000)
    with av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = unit
        for number, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(at / unit), unit
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    files.write_video(tmp_path / "o.mp4", tmp_path / "a.mkv", tone(16_000, 4.04), 16_000)
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(4.04, abs=0.01)
        found = [frame.time for frame in container.decode(stream)]
    np.testing.assert_allclose(np.array(found, dtype=float), times, atol=1e-3)


def test_a_video_of_one_pixel_gets_a_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1, 1, "bgr0"
        for _ in range(5):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1, 3), np.uint8), format="rgb24")))
        target.mux(stream.encode())
    files.write_video(tmp_path / "o.mp4", tmp_path / "a.mkv", tone(16_000), 16_000)
    assert files.read_frames(tmp_path / "o.mp4").pictures[0].size == (2, 2)


@pytest.mark.parametrize("title", ["a tone", "\N{BELL}", "price $5 or $6_a$"])
def test_a_spectrogram_is_a_picture(title: str, tmp_path: Path) -> None:
    """The title is a file's name, which may have characters that the font lacks or that formulas begin with."""
    files.write_spectrogram(tmp_path / "a.png", tone(16_000), 16_000, title)
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("L")).std() > 20
