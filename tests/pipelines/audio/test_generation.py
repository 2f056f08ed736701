"""Pictures and videos to sounds, from folders to files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from transformers import ClapModel

import pipelines
from mappers.v2a import RegressionMapper
from pipelines.audio.batch import sonify_files, sound_jobs
from pipelines.audio.clap import Clap
from pipelines.audio.conditioning import load_mapper
from pipelines.audio.generation import Sonifier, Sounds, vision_to_audio
from pipelines.audio.loudness import loudness, true_peak
from pipelines.audio.settings import SoundConfig
from pipelines.cli import main
from pipelines.images import load_images
from pipelines.nano import world

QUICK = {"inference_steps": 2, "mapper_steps": 2}


@pytest.fixture(scope="module")
def sonifier(folders: Any) -> Sonifier:
    return Sonifier.load(**folders.parts, device="cpu")


def make(sonifier: Sonifier, source: Any, *, duration: float | None = 0.3, candidates: int = 1, seed: int = 0,
         **settings: Any) -> Sounds:  # fmt: skip
    config = SoundConfig(**{**QUICK, **settings})
    return sonifier(source, duration=duration, candidates=candidates, seed=seed, config=config)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def write_clip(path: Path, colours: Sequence[int], *, fps: int = 10, codec: str = "mpeg4", sound: bool = False) -> Path:
    """A video whose frames are of one gray each."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        audio = target.add_stream("aac", rate=16000, layout="mono") if sound else None
        for colour in colours:
            pixels = np.full((32, 32, 3), colour, dtype=np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(stream.encode())
        if audio is not None:
            wave = np.sin(np.arange(16000 * len(colours) // fps) / 5).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 16000
            target.mux(audio.encode(frame))
            target.mux(audio.encode())
    return path


def test_a_picture_becomes_a_sound_and_the_same_again(folders: Any, tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    sounds = pipelines.vision_to_audio(tmp_path / "a.png", **folders.parts, **QUICK)
    assert sounds.audios.dtype == np.float32
    assert sounds.audios.shape == (1, 10_240)
    assert sounds.sampling_rate == 16_000
    again = vision_to_audio(np.asarray(picture(0)), **folders.parts, **QUICK)
    np.testing.assert_array_equal(sounds.audios, again.audios)
    other = vision_to_audio(picture(0), seed=1, **folders.parts, **QUICK)
    assert np.abs(other.audios - sounds.audios).max() > 1e-3


def test_pictures_sound_the_same_in_any_company(sonifier: Sonifier, tmp_path: Path) -> None:
    pictures = [picture(0), picture(1)]
    both = make(sonifier, pictures)
    assert both.audios.shape == (2, 4_800)
    for one, wave in zip(pictures, both.audios, strict=True):
        np.testing.assert_allclose(make(sonifier, one).audios[0], wave, atol=1e-5)
    for i, one in enumerate(pictures):
        one.save(tmp_path / f"{i}.png")
    np.testing.assert_allclose(make(sonifier, tmp_path).audios, both.audios, atol=1e-5)


def test_candidates_come_ranked_by_their_own_clap_embedding(sonifier: Sonifier) -> None:
    sounds = make(sonifier, [picture(0), picture(1)], candidates=3)
    assert sounds.audios.shape == (6, 4_800)
    assert sounds.best.shape == (2, 4_800)
    assert sounds.scores is not None
    assert sonifier.clap is not None
    by_hand = (sonifier.clap.embed_sounds(list(sounds.audios), 16_000) * sounds.audio_embeds).sum(1)
    np.testing.assert_allclose(sounds.scores, by_hand, atol=1e-5)
    for of_one in (sounds.scores[:3], sounds.scores[3:]):
        assert of_one == sorted(of_one, reverse=True)
    first = make(sonifier, picture(0)).audios[0]
    assert min(np.abs(wave - first).max() for wave in sounds.audios[:3]) < 1e-5


@pytest.mark.parametrize("gain", [0.1, 1.0, 100.0])
def test_sounds_have_one_loudness_and_no_sample_is_cut(
    gain: float, sonifier: Sonifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However loud the generator's are, and before they are ranked."""
    wanted = make(sonifier, picture(0), duration=0.5, candidates=2)
    for wave in wanted.audios:
        assert true_peak(wave) <= -0.99
        assert loudness(wave, 16_000) == pytest.approx(-23, abs=0.1) or true_peak(wave) > -1.01
    generate = sonifier.backend.generate
    monkeypatch.setattr(sonifier.backend, "generate", lambda *given: gain * generate(*given))
    found = make(sonifier, picture(0), duration=0.5, candidates=2)
    np.testing.assert_allclose(found.audios, wanted.audios, atol=1e-4)
    assert found.scores == pytest.approx(wanted.scores, abs=1e-3)


def test_a_generator_that_overflows_says_so(sonifier: Sonifier) -> None:
    with pytest.raises(ValueError, match="not finite; set a guidance_scale nearer to 1"):
        make(sonifier, picture(0), guidance_scale=1e38)


def test_photos_that_nano_does_not_know_are_warned_of(
    sonifier: Sonifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (portrait,) = load_images([str(get_sample_data("grace_hopper.jpg", asfileobj=False))])
    bell = world.render_all(world.reference_scenes("bell", 1))[0]
    make(sonifier, [portrait])
    assert "far from what nano knows" not in caplog.text
    monkeypatch.setattr(sonifier.vision_encoder, "of_nano", True)
    make(sonifier, [bell, portrait])
    assert "picture 2 is far from what nano knows" in caplog.text
    assert "picture 1 is" not in caplog.text
    assert "give model=" in caplog.text


def test_text_steers_and_what_is_unwanted_is_gone_from_the_embedding(sonifier: Sonifier) -> None:
    text = sonifier.backend.encode_prompt(["a bell"])
    full = make(sonifier, picture(0), prompt="a bell", prompt_weight=1.0)
    torch.testing.assert_close(full.audio_embeds, text)
    texts = sonifier.backend.encode_prompt(["speech", "music", ""])
    directions = texts[:2] - texts[2:]
    plain, without = make(sonifier, picture(0)), make(sonifier, picture(0), without=("speech", "music"))
    assert (without.audio_embeds @ directions.T).abs().max() < 1e-5
    assert (plain.audio_embeds @ directions.T).abs().max() > 1e-3
    torch.testing.assert_close(without.audio_embeds.norm(dim=1), torch.ones(1))
    away = make(sonifier, picture(0), negative_prompt="a dog")
    assert np.abs(away.audios - plain.audios).max() > 1e-4
    off = [make(sonifier, picture(0), guidance_scale=1.0, negative_prompt=text).audios for text in ("", "a dog")]
    np.testing.assert_array_equal(*off)


def test_a_video_has_the_sound_of_its_mean_frame_and_its_own_length(sonifier: Sonifier, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [40] * 6)
    sounds = make(sonifier, clip, duration=None)
    assert sounds.audios.shape == (1, 9_600)
    still = Image.fromarray(np.full((32, 32, 3), 40, dtype=np.uint8))
    similarity = (sounds.audio_embeds * make(sonifier, still).audio_embeds).sum()
    assert similarity > 0.999


def test_windows_of_a_video_follow_its_pictures(sonifier: Sonifier, tmp_path: Path) -> None:
    sonifier.vision_encoder.mapper, kept = sonifier.vision_encoder.regression_mapper, sonifier.vision_encoder.mapper
    try:
        clip = write_clip(tmp_path / "a.mp4", [0] * 20 + [255] * 20)
        dark, light = (
            make(sonifier, Image.fromarray(np.full((32, 32, 3), c, dtype=np.uint8)), mapper_steps=None).audio_embeds
            for c in (0, 255)
        )
        options = {"duration": None, "mapper_steps": None}
        whole, windows = make(sonifier, clip, **options), make(sonifier, clip, window=0.5, **options)
        assert whole.audios.shape == windows.audios.shape == (1, 64_000)
        middle = torch.nn.functional.normalize(dark + light, dim=1)
        assert (windows.audio_embeds * middle).sum() > 0.99
        onsets = make(sonifier, clip, window=0.5, onset_strength=1.0, **options)
        assert np.abs(onsets.audios - windows.audios)[:, 20_000:].max() > 1e-4
    finally:
        sonifier.vision_encoder.mapper = kept
    with pytest.raises(ValueError, match="a picture has no time"):
        make(sonifier, picture(0), window=0.5)


def test_mappers_and_clap_of_other_models_are_refused(folders: Any, tmp_path: Path) -> None:
    load_mapper(folders.regression)
    RegressionMapper(12, 16, source_space="0" * 16, target_space="1" * 16).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="trained with the source model 0000000000000000"):
        Sonifier.load(**{**folders.parts, "mapper": tmp_path / "other"})
    clap = ClapModel.from_pretrained(folders.clap)
    with torch.no_grad():
        clap.text_projection.linear1.weight.add_(1)
    shutil.copytree(folders.clap, tmp_path / "clap")
    clap.save_pretrained(tmp_path / "clap")
    with pytest.raises(ValueError, match="the CLAP given .* is not the generator's"):
        Sonifier.load(**{**folders.parts, "clap": tmp_path / "clap"})
    RegressionMapper(13, 16).save_pretrained(tmp_path / "wide")
    with pytest.raises(ValueError, match="width 13, got 12"):
        vision_to_audio(picture(0), **{**folders.parts, "mapper": tmp_path / "wide"}, inference_steps=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": None}, "no CLIP image encoder; give clip="),
        ({"mapper": None}, "no mapper; give mapper="),
        ({"mapper": "none"}, "there is no mapper in none"),
        ({"clap": "./none"}, "could not load a CLAP model|neither a folder"),
        ({"clip": "./none"}, "neither a folder"),
        ({"model": "./none"}, "neither a folder"),
        ({"clap": None, "candidates": 2}, "ranking candidates needs a CLAP"),
        ({"duration": 0.0}, "duration must be 0.1 to 600 seconds, got 0"),
        ({"duration": float("nan")}, "duration must be 0.1 to 600 seconds, got nan"),
        ({"candidates": 0}, "candidates must be at least 1"),
        ({"duration": 1e-5}, "duration must be 0.1 to 600 seconds, got 1e-05"),
        ({"duration": 1e7}, r"duration must be 0.1 to 600 seconds, got 1e\+07"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, got nan"),
        ({"window": float("inf")}, "window must be positive and finite, got inf"),
        ({"blend": 2.0}, r"blend must be in 0..1, got 2.0"),
        ({"blendd": 0.1}, "unknown setting 'blendd'; known are prompt"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(folders: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        vision_to_audio(picture(0), **{**folders.parts, **QUICK, **change})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input none.png --output a.wav", "there is no picture, video or folder none.png"),
        ("--input a.png --output a.mp3", "must end in .wav, .flac, got a.mp3"),
        ("--input a.png --output a.wav --duration 0", "duration must be 0.1 to 600 seconds"),
        ("--input a.png --output a.wav --candidates 0", "candidates must be at least 1"),
        ("--input a.png --output a.wav --guidance-scale nan", "guidance_scale must be a finite number"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_model_is_loaded(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(0).save("a.png")
    try:
        code = main(["vision-to-audio", "--model", "./no-model", *words.split()])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_frozen_parts_stay_as_they_are(sonifier: Sonifier) -> None:
    parts = [
        sonifier.vision_encoder.image_encoder,
        sonifier.vision_encoder.mapper,
        sonifier.clap.model,
        sonifier.backend.pipeline.unet,
    ]  # pyright: ignore
    before = [[p.clone() for p in part.parameters()] for part in parts]
    make(sonifier, picture(0), candidates=2)
    for part, old in zip(parts, before, strict=True):
        assert not part.training
        assert all(torch.equal(a, b) for a, b in zip(part.parameters(), old, strict=True))


def test_clap_embeddings_repeat_and_windows_of_long_sounds_are_averaged(folders: Any) -> None:
    clap = Clap.from_folder(folders.clap)
    rng = np.random.default_rng(0)
    pieces = rng.normal(0, 0.1, (3, 16_000)).astype(np.float32)
    long = pieces.flatten()
    once, twice = clap.embed_sounds([long, pieces[0]], 16_000), clap.embed_sounds([long], 16_000)
    torch.testing.assert_close(once[:1], twice)
    mean = torch.nn.functional.normalize(clap.embed_sounds(list(pieces), 16_000).mean(0), dim=0)
    torch.testing.assert_close(once[0], mean)
    torch.testing.assert_close(once.norm(dim=1), torch.ones(2))
    time = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    low, high = (
        clap.embed_sounds([tone], 44_100),
        clap.embed_sounds([np.sin(2 * np.pi * 440 * time[:16_000] * 2.75625)], 16_000),
    )
    assert (low * high).sum() > 0.99
    with pytest.raises(ValueError, match="not finite"):
        clap.embed_sounds([np.full(4_000, np.nan)], 16_000)


def test_files_of_a_folder(sonifier: Sonifier, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    picture(0).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "in" / "empty.mp4").write_bytes(b"")
    write_clip(tmp_path / "in" / "b.mp4", [10] * 5)
    shutil.copy(tmp_path / "in" / "a.png", tmp_path / "in" / "a.spectrogram.png")
    (tmp_path / "in" / "._a.png").write_bytes(b"attributes that macOS keeps")
    done = sonify_files(sonifier, sound_jobs(tmp_path / "in", tmp_path / "out"), config=SoundConfig(**QUICK))
    caplog.set_level(logging.WARNING)
    assert [next(done).name, next(done).name] == ["a.wav", "b.mp4"]
    with pytest.raises(RuntimeError, match="2 of 4 files could not be used"):
        next(done)
    assert "broken.png is not a picture" in caplog.text
    assert "empty.mp4 is empty" in caplog.text
    info = soundfile.info(tmp_path / "out" / "a.wav")
    assert (info.samplerate, info.subtype, info.channels, info.frames) == (16_000, "PCM_16", 1, 10_240)
    with Image.open(tmp_path / "out" / "a.spectrogram.png") as image:
        assert image.width > 100
