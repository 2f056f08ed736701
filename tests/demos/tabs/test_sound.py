"""The tab Sound's work, apart from the page."""

from __future__ import annotations

from pathlib import Path

import av
import gradio as gr
import pytest
import soundfile
from PIL import Image

from demos.limits import Limits
from demos.records import Record
from demos.tabs import sound
from demos.tabs.sound_jobs import examples, listen, seconds_of
from demos.visitors import Studio, new_visitor
from mappers.hub import resolve
from pipelines.audio.encoders import NANO, load_vision_encoder
from pipelines.audio.pipeline import VisionToAudioPipeline

PLAIN = ("", "", None, 1, 0, False)
"""No prompts, the model's own duration, one candidate, seed 0, no film."""


@pytest.mark.slow
def test_a_generator_with_its_picture_encoder_in_one_folder_can_be_chosen(tmp_path: Path) -> None:
    """Put together as the manual says; the same parts make the same sound but for the last digits."""
    nano = Path(resolve(NANO, "vision-to-audio"))
    encoder = load_vision_encoder(None, nano, nano / "mapper", None, "cpu")
    pipeline = VisionToAudioPipeline.from_pretrained(
        nano, image_encoder=encoder.image_encoder, feature_extractor=encoder.feature_extractor, mapper=encoder.mapper
    )
    pipeline.save_pretrained(tmp_path / "mine")
    bell = examples(tmp_path)[0]
    ours = listen(bell, "nano", *PLAIN, tmp_path / "a")
    theirs = listen(bell, str(tmp_path / "mine"), *PLAIN, tmp_path / "b")
    (first, _), (second, _) = (soundfile.read(made["sounds"][0]) for made in (ours, theirs))
    assert abs(first - second).max() < 0.01 * abs(first).max()
    with Image.open(theirs["spectrogram"]) as shown:
        assert shown.width > shown.height


def test_a_folder_without_a_generator_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match="nothing-here"):
        listen("bell.png", str(tmp_path / "nothing-here"), *PLAIN, tmp_path)


def film(path: Path, seconds: float) -> str:
    """A film of a moving square, five pictures a second."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(round(5 * seconds)):
            picture = Image.new("RGB", (64, 64), "white")
            picture.paste((200, 30, 30), (i % 40, 20, i % 40 + 20, 40))
            target.mux(stream.encode(av.VideoFrame.from_image(picture)))
        target.mux(stream.encode())
    return str(path)


@pytest.mark.slow
def test_a_film_gets_the_best_of_several_sounds_and_all_are_kept(tmp_path: Path) -> None:
    made = listen(film(tmp_path / "a.mp4", 1), "nano", "a dog", "speech", None, 2, 0, True, tmp_path / "out")
    assert [Path(path).name for path in made["sounds"]] == ["sound.wav", "sound-2.wav"]
    assert made["scores"] == sorted(made["scores"], reverse=True)
    with av.open(made["film"]) as opened:
        assert len(opened.streams.video) == len(opened.streams.audio) == 1
        assert float(opened.duration or 0) / av.time_base == pytest.approx(1, abs=0.15)


def test_every_candidate_has_a_player_and_the_film_is_shown_where_there_is_one(tmp_path: Path) -> None:
    made = {"sounds": ["a.wav", "b.wav"], "scores": [0.5, 0.25], "spectrogram": "s.png", "film": None}
    *sounds, seen, spectrogram = sound.shown(Record(tmp_path, "sound", "listen", "", 0.0, {}, made))
    assert [one.visible for one in sounds] == [True, True, False, False]
    assert [one.label for one in sounds[:2]] == [
        "Best sound, fit to the picture 0.50", "Candidate 2, fit to the picture 0.25",
    ]  # fmt: skip
    assert (seen.visible, spectrogram) == (False, "s.png")


def test_a_video_that_is_too_long_or_none_is_refused_before_it_waits(tmp_path: Path) -> None:
    handlers = sound.Handlers(Studio(tmp_path, limits=Limits(sound_seconds=1)))
    (tmp_path / "wrong.mp4").write_bytes(b"no video")
    path = film(tmp_path / "long.mp4", 2)
    assert seconds_of(path) == pytest.approx(2, abs=0.01)
    for video, duration, message in (
        (path, None, "the video has 2 seconds; at most 1 are possible"),
        (str(tmp_path / "wrong.mp4"), None, "wrong.mp4 is not a video that can be read"),
        (None, 5.0, "no picture yet"),
    ):
        with pytest.raises(gr.Error, match=message):
            list(handlers.listen(None, video, "", "", duration, 1, "nano", 0, new_visitor()))
    bell = examples(tmp_path)[0]
    with pytest.raises(gr.Error, match="a sound of 5 seconds is not possible; ask for 1 at most"):
        list(handlers.listen(bell, None, "", "", 5.0, 1, "nano", 0, new_visitor()))
