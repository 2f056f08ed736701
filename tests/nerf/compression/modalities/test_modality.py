"""Every kind of data from a file to a file, damaged files, parts of files, and input that cannot be used."""

from __future__ import annotations

import dataclasses
import logging
import math
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf.compression.container import bitstream, chunks
from nerf.compression.container.errors import CompressedFileError, PayloadError, WrongModelError
from nerf.compression.description import Description
from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import Compressed, compress, decompress
from nerf.compression.modalities.modality import Sound, Video
from nerf.compression.modalities.registry import MODALITY_CODECS, modality_codec_of
from nerf.compression.modalities.sounds import RATE
from nerf.compression.model.codec import CodecModel
from nerf.compression.overview import describe

FAST = EncodeConfig(steps=4, rounds=2, round_steps=2)
Maker = Callable[..., Image.Image]


@pytest.fixture(scope="module")
def models(
    descriptions: dict[str, Description],
    untrained: Callable[[Description], CodecModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Folders of an untrained model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    for name, description in descriptions.items():
        untrained(description).save(folder / name)
    return {name: str(folder / name) for name in descriptions}


def tone(channels: int, count: int = 700) -> Sound:
    time = np.arange(count)[:, None] / RATE
    return Sound((0.5 * np.sin(2 * math.pi * 440 * time * (1 + np.arange(channels)))).astype(np.float32), RATE)


def film() -> Video:
    frames = np.random.default_rng(0).integers(0, 256, (5, 18, 10, 3), dtype=np.uint8)
    return Video(frames, 12)


@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_go_through_files(models: dict[str, str], channels: int, tmp_path: Path) -> None:
    sounds = MODALITY_CODECS["sound"]
    sounds.write(tone(channels), tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (channels, RATE, 700)
    again = sounds.read(tmp_path / "a.wav")
    assert isinstance(again, Sound)
    np.testing.assert_allclose(again.samples, tone(channels).samples, atol=1 / 32768)
    done = compress(tmp_path / "a.wav", tmp_path / "a.mfc", model=models["sound"], config=FAST)
    assert math.isfinite(done.psnr)
    found = decompress(tmp_path / "a.mfc", tmp_path / "b.wav", model=models["sound"])
    assert isinstance(found, Sound)
    assert found.samples.shape == (700, channels)
    np.testing.assert_array_equal(sounds.read(tmp_path / "b.wav").samples, found.samples)  # pyright: ignore
    part = decompress(done.data, model=models["sound"], region=(100, 250))
    assert isinstance(part, Sound)
    np.testing.assert_array_equal(part.samples, found.samples[100:350])
    assert describe(done.data, model=models["sound"])["modality"] == "sound"


def test_silence_and_one_sample_are_no_trouble(models: dict[str, str]) -> None:
    for count in (1, 64):
        silence = Sound(np.zeros((count, 1), np.float32), RATE)
        assert math.isfinite(compress(silence, model=models["sound"], config=FAST).psnr)


def test_other_rates_are_resampled_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(bytes(2 * 4410))
    with caplog.at_level(logging.WARNING):
        sound = MODALITY_CODECS["sound"].read(tmp_path / "a.wav")
    assert isinstance(sound, Sound)
    assert len(sound.samples) == pytest.approx(1600, abs=2)
    assert "44100 samples per second and is coded with 16000" in caplog.text


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "frames"])
def test_videos_go_through_files_without_a_change(models: dict[str, str], name: str, tmp_path: Path) -> None:
    videos = MODALITY_CODECS["video"]
    videos.write(film(), tmp_path / name)
    again = videos.read(tmp_path / name)
    assert isinstance(again, Video)
    np.testing.assert_array_equal(again.frames, film().frames)
    assert again.fps == (24 if name == "frames" else 12)


def test_a_video_is_coded_with_its_frame_rate_and_by_regions(models: dict[str, str]) -> None:
    done = compress(film(), model=models["video"], config=FAST)
    found = decompress(done.data, model=models["video"])
    assert isinstance(found, Video)
    assert (found.frames.shape, found.fps) == ((5, 18, 10, 3), 12)
    part = decompress(done.data, model=models["video"], region=(2, 9, 1, 7, 5, 3))
    assert isinstance(part, Video)
    np.testing.assert_array_equal(part.frames, found.frames[1:4, 9:14, 2:9])


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", ">f8", "?", "f2", "i8", "u8"])
def test_volumes_keep_type_and_range(models: dict[str, str], kind: str, tmp_path: Path) -> None:
    ramp = (np.arange(9 * 6 * 5).reshape(9, 6, 5) % 200).astype(kind)
    np.save(tmp_path / "a.npy", ramp)
    done = compress(tmp_path / "a.npy", model=models["volume"], config=FAST)
    found = decompress(done.data, tmp_path / "b.npy", model=models["volume"])
    assert isinstance(found, np.ndarray)
    assert found.shape == ramp.shape
    assert found.min() >= ramp.min()
    assert found.max() <= ramp.max()
    assert found.dtype == ramp.dtype.newbyteorder("<")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), found)
    part = decompress(done.data, model=models["volume"], region=(1, 2, 3, 4, 3, 5))
    np.testing.assert_array_equal(part, found[3:8, 2:5, 1:5])  # pyright: ignore


def test_a_constant_volume_is_exact(models: dict[str, str]) -> None:
    constant = np.full((4, 5, 3), 7.5, np.float32)
    done = compress(constant, model=models["volume"], config=FAST)
    np.testing.assert_array_equal(decompress(done.data, model=models["volume"]), constant)  # pyright: ignore


def test_a_region_is_that_part_of_the_whole(models: dict[str, str], picture: Maker) -> None:
    original = picture(70, 45, "RGBA")
    original.putalpha(Image.linear_gradient("L").resize((70, 45)))
    done = compress(original, model=models["picture"], config=FAST)
    whole = decompress(done.data, model=models["picture"])
    part = decompress(done.data, model=models["picture"], region=(13, 20, 30, 9))
    assert isinstance(whole, Image.Image)
    assert isinstance(part, Image.Image)
    assert part.tobytes() == whole.crop((13, 20, 43, 29)).tobytes()
    for region in ((0, 0, 71, 5), (0, 0, 0, 5), (-1, 0, 5, 5), (1, 2, 3)):
        with pytest.raises(ValueError, match="region"):
            decompress(done.data, model=models["picture"], region=region)


@pytest.fixture(scope="module")
def large(models: dict[str, str], picture: Maker) -> Compressed:
    """A file of several chunks."""
    config = dataclasses.replace(FAST, steps=1, rounds=1)
    return compress(picture(500, 400), model=models["picture"], config=config)


def test_a_damaged_file_is_salvaged_around_the_damage(
    large: Compressed, models: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    content = bitstream.read(large.data).items[0].payload
    assert len(content) > 3 * chunks.CHUNK
    whole = np.asarray(decompress(large.data, model=models["picture"])).astype(int)
    damaged = bytearray(large.data)
    damaged[len(damaged) // 2] ^= 4
    with pytest.raises(CompressedFileError):
        decompress(bytes(damaged), model=models["picture"])
    found = decompress(bytes(damaged), model=models["picture"], salvage=True)
    difference = abs(np.asarray(found).astype(int) - whole)
    nothing = np.asarray(decompress(large.data, model=models["picture"], share=0)).astype(int)
    assert 0 < difference.mean() < 0.7 * abs(nothing - whole).mean()
    assert "item 0 is damaged" in caplog.text
    assert decompress(large.data, model=models["picture"], salvage=True) is not None


def test_a_truncated_file_is_salvaged_up_to_its_end(large: Compressed, models: dict[str, str]) -> None:
    whole = np.asarray(decompress(large.data, model=models["picture"])).astype(float)
    errors = []
    for share in (0.1, 0.5, 0.95):
        cut = large.data[: int(share * len(large.data))]
        found = decompress(cut, model=models["picture"], salvage=True)
        errors.append(float(((np.asarray(found) - whole) ** 2).mean()))
    assert errors[0] > errors[1] > errors[2]
    extended = decompress(large.data + b"more", model=models["picture"], salvage=True)
    np.testing.assert_array_equal(np.asarray(extended), whole)


def test_what_cannot_be_salvaged_is_named(large: Compressed, models: dict[str, str]) -> None:
    for cut in (0, 3, 10, 20):
        with pytest.raises(CompressedFileError):
            decompress(large.data[:cut], model=models["picture"], salvage=True)
    other = large.data[:6] + b"no model" + large.data[14:]
    with pytest.raises(WrongModelError):
        decompress(other, model=models["picture"], salvage=True)


def test_a_damaged_transparency_is_left_out(models: dict[str, str], picture: Maker) -> None:
    original = picture(20, 20, "RGBA")
    original.putalpha(Image.linear_gradient("L").resize((20, 20)))
    found = bitstream.read(compress(original, model=models["picture"], config=FAST).data)
    item = dataclasses.replace(found.items[0], extra=b"no plane")
    damaged = dataclasses.replace(found, items=[item]).write()
    with pytest.raises(PayloadError, match="transparency"):
        decompress(damaged, model=models["picture"])
    saved = decompress(damaged, model=models["picture"], salvage=True)
    assert isinstance(saved, Image.Image)
    assert saved.mode == "RGB"


def test_sixteen_bits_are_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        MODALITY_CODECS["picture"].to_datum(Image.fromarray(np.full((4, 4), 40000, np.uint16)))
    assert "more than 8 bits a value; the lower ones are lost" in caplog.text


def test_a_picture_that_cannot_be_written_leaves_no_file(
    compressed: Compressed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.png").write_bytes(b"before")

    def fail(self: Image.Image, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        decompress(compressed.data, tmp_path / "b.png", overwrite=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b.png", b"before")]


def test_modalities_are_found_by_endings_and_classes(tmp_path: Path) -> None:
    names = {"a.png": "picture", "a.WAV": "sound", "a.mp4": "video", "a.npy": "volume", "a.unknown": "picture"}
    assert {name: modality_codec_of(name).modality for name in names} == names
    assert modality_codec_of(tmp_path).modality == "video"
    media = (tone(1), film(), np.zeros((2, 2, 2)))
    assert [modality_codec_of(one).modality for one in media] == ["sound", "video", "volume"]
    with pytest.raises(ValueError, match="a int cannot be compressed"):
        modality_codec_of(3)  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"", "cannot be read as a sound"),
        ("a.wav", b"RIFF but nothing else", "cannot be read as a sound"),
        ("a.mp4", b"no film", "cannot be read as a video"),
        ("a.npy", b"no array", "cannot be read as an array"),
        ("a.npz", b"PK no archive", "cannot be read as an array"),
    ],
)
def test_files_that_are_not_what_they_end_in_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        modality_codec_of(name).read(tmp_path / name)


def _video_of_floats() -> Video:
    """A video that its class's annotations do not allow; the frames are set afterwards, for tests check the shapes."""
    video = Video(np.zeros((2, 4, 4, 3), np.uint8), 24)
    object.__setattr__(video, "frames", np.zeros((2, 4, 4, 3), np.float32))
    return video


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (Sound(np.zeros((0, 1), np.float32), RATE), "a sound must be"),
        (Sound(np.zeros((9, 3), np.float32), RATE), "a sound must be"),
        (Sound(np.zeros((9, 1), np.float32), 8000), "resample it"),
        (Sound(np.full((9, 1), np.nan, np.float32), RATE), "not finite"),
        (_video_of_floats(), "a video must be bytes"),
        (Video(np.zeros((2, 4, 4, 3), np.uint8), 0), "a video must be bytes"),
        (np.zeros((4, 4)), "a volume must be"),
        (np.zeros((0, 4, 4)), "a volume must be"),
        (np.zeros((2, 2, 2), complex), "a volume must be"),
        (np.full((2, 2, 2), np.inf), "not finite"),
    ],
)
def test_data_that_cannot_be_coded_are_named(media: Sound | Video | np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modality_codec_of(media).to_datum(media)


def test_files_of_a_lossy_ending_are_refused(tmp_path: Path) -> None:
    for media, name in ((tone(1), "a.mp3"), (film(), "a.gif"), (np.zeros((2, 2, 2)), "a.npz")):
        with pytest.raises(ValueError, match="give a file that ends in"):
            modality_codec_of(media).write(media, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_models_and_packs_are_of_one_kind(models: dict[str, str], picture: Maker) -> None:
    with pytest.raises(ValueError, match="is for a sound, not for a picture"):
        compress(picture(8, 8), model=models["sound"])
    with pytest.raises(ValueError, match="a pack holds data of one kind, but .* is a picture and .* a sound"):
        compress([picture(8, 8), tone(1)], model=models["sound"])


def blobs() -> np.ndarray:
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, 16)] * 3, indexing="ij"), -1)
    near = [np.exp(-width * np.square(place - at).sum(-1)) for at, width in ((0.2, 3), (-0.4, 8))]
    return (near[0] + 0.5 * near[1]).astype(np.float32)


def moving_disc() -> Video:
    rows, columns = np.mgrid[:32, :32]
    frames = [
        np.where(np.hypot(rows - 16, columns - 8 - time)[..., None] < 7, (200, 90, 40), (60, 120, 180))
        for time in range(16)
    ]
    return Video(np.stack(frames).astype(np.uint8), 25)


def falling_tone() -> Sound:
    time = np.arange(4000)[:, None] / RATE
    return Sound((0.4 * np.sin(2 * math.pi * 300 * time) * np.exp(-4 * time)).astype(np.float32), RATE)


@pytest.mark.parametrize(
    ("media", "size", "least"), [(blobs(), 120, 27.0), (moving_disc(), 400, 20.0), (falling_tone(), 250, 30.0)]
)
def test_a_model_of_each_kind_ships_and_has_learned(media: np.ndarray | Video | Sound, size: int, least: float) -> None:
    done = compress(media, target_bytes=size, config=FAST)
    assert 0.9 * size <= len(done.data) <= size
    assert done.psnr > least
    assert type(decompress(done.data)) is type(media)


def test_a_transparent_picture_is_no_jpeg(tmp_path: Path) -> None:
    codec = MODALITY_CODECS["picture"]
    with pytest.raises(ValueError, match=r"a\.jpg cannot hold transparency .* ends in \.png"):
        codec.write(Image.new("RGBA", (4, 4)), tmp_path / "a.jpg")
    codec.write(Image.new("RGB", (4, 4)), tmp_path / "b.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]
