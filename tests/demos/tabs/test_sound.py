"""The tab Sound's work, apart from the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from PIL import Image

from demos.tabs.sound import examples, listen
from mappers.hub import resolve
from pipelines.audio.encoders import NANO, load_vision_encoder
from pipelines.audio.pipeline import VisionToAudioPipeline


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
    ours = listen(bell, "nano", 1, 0, tmp_path / "a")
    theirs = listen(bell, str(tmp_path / "mine"), 1, 0, tmp_path / "b")
    (first, _), (second, _) = (soundfile.read(made["sound"]) for made in (ours, theirs))
    assert abs(first - second).max() < 0.01 * abs(first).max()
    with Image.open(theirs["spectrogram"]) as shown:
        assert shown.width > shown.height


def test_a_folder_without_a_generator_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match="nothing-here"):
        listen("bell.png", str(tmp_path / "nothing-here"), 1, 0, tmp_path)
