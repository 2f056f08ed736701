"""The shipped tiny codec, and a picture that it has compressed once for all tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image, ImageDraw

from nerf.compression.description import Description
from nerf.compression.encoder import EncodeConfig
from nerf.compression.files import Compressed, compress
from nerf.compression.model.amortiser import Amortiser
from nerf.compression.model.codec import CodecModel, load_model
from nerf.compression.model.network import Representation
from nerf.compression.model.priors import Priors

LAYERED = Description(
    patch=(8, 8), latent=(2, 2), latent_channels=4, upsampler=(8, 4), factors=((2, 2), (2, 2)), frequencies=2,
    highest=4.0, width=8, layers=3, rank=6, budgets=(24.0,), candidate_bits=8, default_rate=0,
    group=(2, 2), stitched=True, components=3,
)  # fmt: skip
SOUND = Description(
    modality="sound", channels=1, patch=(64,), latent=(8,), latent_channels=4, upsampler=(8, 4), factors=((4,), (2,)),
    frequencies=4, width=8, layers=3, rank=6, budgets=(24.0,), candidate_bits=8, default_rate=0,
    group=(4,),
)  # fmt: skip
VIDEO = Description(
    modality="video", patch=(4, 8, 8), latent=(1, 2, 2), latent_channels=4, upsampler=(8, 4),
    factors=((2, 2, 2), (2, 2, 2)), frequencies=2, width=8, layers=3, rank=6, budgets=(24.0,),
    candidate_bits=8, default_rate=0, group=(1, 2, 2),
)  # fmt: skip
VOLUME = Description(
    modality="volume", channels=1, patch=(4, 4, 4), latent=(1, 1, 1), latent_channels=4, upsampler=(8, 4),
    factors=((2, 2, 2), (2, 2, 2)), frequencies=2, width=8, layers=3, rank=6, budgets=(24.0,),
    candidate_bits=8, default_rate=0, group=(2, 2, 2), stitched=True,
)  # fmt: skip


@pytest.fixture(scope="session")
def descriptions() -> dict[str, Description]:
    """The smallest one of every kind, with three levels."""
    return {"picture": LAYERED, "sound": SOUND, "video": VIDEO, "volume": VOLUME}


@pytest.fixture(scope="session")
def untrained() -> Callable[[Description], CodecModel]:
    """Makes models that have learned nothing."""
    return _untrained


def _untrained(description: Description) -> CodecModel:
    torch.manual_seed(0)
    priors = Priors(description)
    priors.information.copy_(torch.rand(priors.information.shape))
    priors.std.copy_(0.5 + torch.rand(priors.std.shape))
    return CodecModel.trained(description, Representation(description), Amortiser(description), priors)


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
