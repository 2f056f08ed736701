"""The shipped tiny codec, and a picture that it has compressed once for all tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw

from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import Compressed, compress
from nerf.compression.model import CodecModel, load_model


@pytest.fixture(scope="session")
def quick() -> EncodeConfig:
    """A search that is over at once."""
    return EncodeConfig(steps=20, rounds=2, round_steps=4)


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """Makes pictures of any size and mode."""
    return _picture


def _picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A gradient with a disc."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), (180, 60, 40))
    return image.convert(mode)


@pytest.fixture(scope="session")
def tiny() -> CodecModel:
    return load_model("tiny")


@pytest.fixture(scope="session")
def compressed(quick: EncodeConfig) -> Compressed:
    """40 x 24 pixels: six patches, of which some stand over the edge."""
    return compress(_picture(40, 24), model="tiny", config=quick)
