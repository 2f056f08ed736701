"""Films come out as players show them."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from mappers.videos import upright
from nerf.compression import compress
from nerf.media.reading import read_media
from pipelines.audio.files import read_frames, read_sound, write_sound, write_video


def quarters(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A film of 64x48 whose quarters have four shades of grey, with a display matrix (a, b, c, d) in its header."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32], picture[24:, 32:] = 0, 80, 160, 240
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def shades(values: np.ndarray) -> list[int]:
    """Of the quarters, row by row: 0 for the darkest, 3 for the lightest."""
    height, width = values.shape[:2]
    return [
        round(float(values[y * height // 4, x * width // 4].mean()) / 80) for y, x in ((1, 1), (1, 3), (3, 1), (3, 3))
    ]


@pytest.mark.parametrize(
    ("matrix", "size", "expected"),
    [
        ((1, 0, 0, 1), (48, 64), [0, 1, 2, 3]),
        ((0, 1, -1, 0), (64, 48), [2, 0, 3, 1]),  # a quarter clockwise
        ((-1, 0, 0, -1), (48, 64), [3, 2, 1, 0]),
        ((0, -1, 1, 0), (64, 48), [1, 3, 0, 2]),
        ((-1, 0, 0, 1), (48, 64), [1, 0, 3, 2]),  # mirrored
        ((0, 1, 1, 0), (64, 48), [0, 2, 1, 3]),  # mirrored at the diagonal
    ],
)
def test_frames_are_turned_and_mirrored_as_the_file_says(
    matrix: tuple[int, int, int, int], size: tuple[int, int], expected: list[int], tmp_path: Path
) -> None:
    path = quarters(tmp_path / "a.mp4", matrix)
    with av.open(str(path)) as container:
        frames = [upright(frame) for frame in container.decode(video=0)]
    assert [(frame.shape, shades(frame)) for frame in frames] == [((*size, 3), expected)] * 3


def test_every_reader_of_films_turns_them(tmp_path: Path) -> None:
    path = quarters(tmp_path / "phone.mp4", (0, 1, -1, 0))
    media = read_media(path)
    assert (media.size, shades(media.frames[0].numpy())) == ((64, 48), [2, 0, 3, 1])
    picture = read_frames(path).pictures[0]
    assert (picture.size, shades(np.asarray(picture))) == ((48, 64), [2, 0, 3, 1])


@pytest.mark.parametrize("copied", [True, False])
def test_a_film_with_a_new_sound_is_shown_as_before(
    copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its pictures are copied or encoded again."""
    path = quarters(tmp_path / "a.mp4", (0, 1, -1, 0))
    if not copied:
        monkeypatch.setattr("pipelines.audio.files.MP4_CODECS", ())
    write_video(tmp_path / "b.mp4", path, np.zeros(4000, np.float32), 16000)
    with av.open(str(tmp_path / "b.mp4")) as container:
        frames = [upright(frame) for frame in container.decode(video=0)]
    assert [(frame.shape, shades(frame)) for frame in frames] == [((64, 48, 3), [2, 0, 3, 1])] * 3


def test_a_film_whose_tracks_cannot_be_decoded_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Damage to the name of the codec leaves a track without a size, a rate and a decoder."""
    path = quarters(tmp_path / "a.mp4", (1, 0, 0, 1))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(ValueError, match=r"a\.mp4 has no pictures in it that can be read; give a whole video"):
        read_media(path)
    with pytest.raises(ValueError, match=r"a\.mp4 has no pictures that can be read; choose a file with a video track"):
        read_frames(path)
    sound = tmp_path / "a.wav"
    write_sound(sound, np.full(1600, 0.1, dtype=np.float32), 16_000)
    data = sound.read_bytes()
    place = data.index(b"fmt ") + 8
    sound.write_bytes(data[:place] + b"\xfe\xca" + data[place + 2 :])  # no codec has this number
    with pytest.raises(ValueError, match=r"a\.wav has no sound"):
        read_sound(sound, 16_000)
    with pytest.raises(ValueError, match=r"a\.wav has no audio track that can be read; give a whole sound file"):
        compress(sound)
