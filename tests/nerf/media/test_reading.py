"""Pictures, videos and folders of frames are read as they are; what cannot be fitted is one sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerf.export import write_film
from nerf.media import is_video
from nerf.media.reading import MediaError, check_times, read_media


def frames(count: int, height: int = 16, width: int = 24) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def test_a_picture_is_one_frame_with_transparency_on_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (5, 4), (255, 0, 0, 0))
    picture.putpixel((2, 1), (10, 20, 30, 255))
    picture.save(tmp_path / "a.png")
    media = read_media(tmp_path / "a.png")
    assert (media.video, media.size, len(media.frames)) == (False, (4, 5), 1)
    assert media.frames[0, 1, 2].tolist() == [10, 20, 30]
    assert media.frames[0, 0, 0].tolist() == [255, 255, 255]


def test_a_film_and_a_folder_of_frames_are_videos(tmp_path: Path) -> None:
    write_film(frames(5), tmp_path / "a.mp4", fps=10)
    media = read_media(tmp_path / "a.mp4")
    assert (media.video, media.size, len(media.frames), media.fps) == (True, (16, 24), 5, 10)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames(3)):
        Image.fromarray(frame).save(folder / f"{number}.png")
    media = read_media(folder)
    assert (media.video, media.fps, len(media.frames)) == (True, 24, 3)
    assert np.array_equal(media.frames[2].numpy(), frames(3)[2])
    assert is_video(folder)


def test_bad_media_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no picture or video"):
        read_media(tmp_path / "nowhere.png")
    cases = {
        "empty.png": (b"", "is empty"),
        "a.mp4": (b"no film", "cannot be read as a video"),
        "b.png": (b"no picture", "is not a picture that can be read"),
        "c.txt": (b"text", "is neither a picture"),
        "d.HEIC": (b"photo", "is a HEIC photo, which cannot be read; convert it to JPEG or PNG"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=message):
            read_media(tmp_path / name)
    write_film(frames(1), tmp_path / "one.mp4", fps=10)
    with pytest.raises(MediaError, match="has 1 frame; a video needs at least two"):
        read_media(tmp_path / "one.mp4")
    Image.new("RGB", (1, 9)).save(tmp_path / "thin.png")
    with pytest.raises(MediaError, match="is 1x9; a field needs 2 pixels"):
        read_media(tmp_path / "thin.png")


def slow(path: Path, times: list[int], sound: bool = False) -> Path:
    """A film with a frame at each of these times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        track = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound else None
        for at, frame in zip(times, frames(len(times)), strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = at, stream.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if track:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            silence.sample_rate = 8000
            container.mux(track.encode(silence))
            container.mux(track.encode())
    return path


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([2000 * number for number in range(4)], "has 0.5 frames per second, and a film of them shows 1: it lasts 4 s"),
        ([0, 40, 80, 2080, 2120], "are 0.04 to 2 s apart, and a film of them shows them evenly, 2 per second"),
        ([0, 33, 67, 100, 133, 167], ""),
    ],
)
def test_times_that_a_film_does_not_keep_are_said(
    times: list[int], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    media = read_media(slow(tmp_path / "a.mkv", times))
    np.testing.assert_allclose(media.times, np.array(times) / 1000)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


def test_sound_that_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_media(slow(tmp_path / "talk.mkv", [0, 100, 200], sound=True))
    assert "talk.mkv is left out" in caplog.text


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.gif", "frames", "a.png"])
def test_what_is_too_large_is_refused_before_it_is_decoded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if path.suffix == ".png":
        Image.fromarray(frames(1)[0]).save(path)
    elif path.suffix:
        write_film(frames(5), path, fps=10)
    else:
        path.mkdir()
        for number, frame in enumerate(frames(5)):
            Image.fromarray(frame).save(path / f"{number}.png")
    media = read_media(path, most=5 * 16 * 24)
    assert media.frames[0].shape == (16, 24, 3)
    monkeypatch.setattr("nerf.media.reading.upright", None)
    monkeypatch.setattr("nerf.media.reading.to_rgb", None)
    with pytest.raises(MediaError, match="make it smaller"):
        read_media(path, most=len(media.frames) * 16 * 24 - 1)


def test_a_film_that_has_more_frames_than_its_header_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(frames(5), tmp_path / "a.mkv", fps=10)
    whole = read_media(tmp_path / "a.mkv", most=5 * 16 * 24)
    monkeypatch.setattr("nerf.media.reading.expected_frames", lambda container: 0)
    assert len(read_media(tmp_path / "a.mkv", most=5 * 16 * 24).frames) == len(whole.frames)
    with pytest.raises(MediaError, match="5 frames of 24x16, 1,920 points, of which 1,919 can be used"):
        read_media(tmp_path / "a.mkv", most=5 * 16 * 24 - 1)


def test_a_gif_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    Image.fromarray(frames(1)[0]).save(tmp_path / "logo.gif")
    media = read_media(tmp_path / "logo.gif")
    assert (media.video, len(media.frames)) == (False, 1)
    assert not is_video(tmp_path / "logo.gif")
    write_film(frames(3), tmp_path / "moving.gif", fps=10)
    assert len(read_media(tmp_path / "moving.gif").frames) == 3
    assert is_video("not_there.gif")


def test_frames_of_different_sizes_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    Image.new("RGB", (9, 8)).save(tmp_path / "1.png")
    with pytest.raises(MediaError, match="frame 1 has 9x8 pixels but the first 8x8; make them one size"):
        read_media(tmp_path)


def test_time_stamps_must_rise() -> None:
    check_times([0.0, 0.1, 0.3], "film")
    with pytest.raises(MediaError, match="film: frame 2 repeats the time of frame 1"):
        check_times([0.0, 0.1, 0.1], "film")
    with pytest.raises(MediaError, match="film: frame 2 lies before frame 1;"):
        check_times([0.0, 0.1, 0.05], "film")


def test_a_sound_file_has_no_pictures(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="has no pictures in it"):
        read_media(tmp_path / "a.mkv")
