"""The recipe of the nano mappers: views of one object, and the spaces that mappers record."""

from __future__ import annotations

import pytest
from transformers import ClapTextModelWithProjection, CLIPVisionModelWithProjection

from mappers.embedding_cache import space_id
from pipelines.audio.clap import clap_space
from pipelines.nano import train_audio
from pipelines.nano.recipes.audio_mappers import views_of
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips


def test_views_show_the_same_thing_elsewhere(clips: Clips) -> None:
    views = views_of(clips.moments[:8], 3)
    assert views[::3] == clips.moments[:8]
    for first in range(0, 24, 3):
        assert len({(v.factors, v.sound_class, v.seed) for v in views[first : first + 3]}) == 1
        assert len({v.scene.seed for v in views[first : first + 3]}) == 3


@pytest.mark.parametrize("part", ["prior", "regression"])
def test_mappers_record_their_spaces(part: str, clips: Clips) -> None:
    task = build_task(part, clips, clips)
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(train_audio.VISION_TO_AUDIO / "image_encoder")
    text_encoder = ClapTextModelWithProjection.from_pretrained(train_audio.VISION_TO_AUDIO / "text_encoder")
    task.mapper.check_spaces(space_id(image_encoder), clap_space(text_encoder))
    with pytest.raises(ValueError, match="trained with the target model"):
        task.mapper.check_spaces(space_id(image_encoder), "another")
    assert task.train.condition.shape == (2 * len(clips), 128)
    assert task.train.index[:5, 1].tolist() == [0, 0, 1, 1, 2]
