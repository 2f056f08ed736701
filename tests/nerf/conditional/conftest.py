"""A category of balls whose radius is the shape code's first number and whose grey is the appearance code's; judges."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from mappers.hub import resolve
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families import FAMILIES
from nerf.conditional.train import Arguments, main
from nerf.fields.conditional import ConditionalConfig, ConditionalField

SMALL = ConditionalConfig(
    shape_code=4, appearance_code=3, layers=2, width=24, octaves=4, deform_layers=1, deform_width=16, features=8,
    color_layers=1, color_width=16,
)  # fmt: skip
FULL = 6.0
"""Log-density inside: 1/20 of a unit is opaque."""


class Balls(ConditionalField):
    """What a trained category would be, in closed form."""

    def encode(self, unit: Float[Tensor, "n 3"], shape_code: Float[Tensor, "n s"]) -> Float[Tensor, "n f"]:
        points = self.bounds[0] + unit * (self.bounds[1] - self.bounds[0])
        steep = (shape_code[:, 0] - points.norm(dim=-1)) * 200
        return torch.cat([steep.clamp(-12, FULL)[:, None], unit.new_zeros(len(unit), self.config.features)], -1)

    def color(
        self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"], appearance_code: Float[Tensor, "n a"]
    ) -> Float[Tensor, "n 3"]:
        return appearance_code[:, :1].expand(-1, 3)


@pytest.fixture
def balls() -> ConditionalModel:
    field = Balls(FAMILIES["chairs"].bounds, SMALL)
    radii = torch.linspace(0.2, 0.55, 5)
    shapes = torch.cat([radii[:, None], torch.randn(5, 3, generator=torch.Generator().manual_seed(0))], 1)
    return ConditionalModel(field, shapes, torch.linspace(0.1, 0.9, 9).view(3, 3), "chairs")


@pytest.fixture
def untrained() -> ConditionalModel:
    torch.manual_seed(3)
    field = ConditionalField(FAMILIES["chairs"].bounds, SMALL)
    torch.nn.init.normal_(field.deform.last.weight)
    return ConditionalModel(field, torch.randn(6, 4), torch.randn(5, 3), "chairs", {"steps": 7})


class Brightness(Scorer):
    """A judge in closed form: its embedding of a picture turns from one axis to the other as the picture brightens."""

    def __init__(self) -> None:
        self.size, self.width, self.space, self.name = 16, 2, "brightness", "brightness"

    def embed_images(self, pictures: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n d"]:
        angle = pictures.mean((1, 2, 3)) * torch.pi / 2
        return torch.stack([angle.cos(), angle.sin()], -1)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """ "white" is bright; all else is dark."""
        bright = torch.tensor([1.0 if "white" in text else 0.0 for text in texts])
        return torch.stack([1 - bright, bright], -1)


@pytest.fixture
def brightness() -> Brightness:
    return Brightness()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP with nano-clip's tokenizer and image processor."""
    from transformers import CLIPConfig, CLIPModel  # not above: two processes that train a recipe need neither

    folder = tmp_path_factory.mktemp("clip")
    shutil.copytree(resolve("nano-clip", "CLIP"), folder, dirs_exist_ok=True)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig.from_pretrained(folder)
    text, vision = (
        {**part.to_dict(), **size, "projection_dim": 12} for part in (config.text_config, config.vision_config)
    )
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_clip(clip_folder: Path) -> Scorer:
    return Scorer.load(clip_folder)


@pytest.fixture
def resumes(tmp_path: Path) -> Callable[[Callable[[], Any], TrainConfig], None]:
    """Checks that a run which stops after every step ends as the uninterrupted one."""

    def check(make: Callable[[], Any], train: TrainConfig) -> None:
        whole, broken = make(), make()
        fit(whole, train)
        for _ in range(train.steps):
            fit(broken, dataclasses.replace(train, max_minutes=1e-9), output_dir=tmp_path, resume="auto")
        for name, module in whole.modules.items():
            other = broken.modules[name].state_dict()
            assert all(torch.equal(value, other[key]) for key, value in module.state_dict().items()), name

    return check


def train_recipe(recipe: Path, output: Path) -> None:
    main(Arguments(recipe=str(recipe), output=output))


@pytest.fixture
def one_and_two(tmp_path: Path, two_processes: Callable[..., None]) -> Callable[[Path], tuple[Path, Path]]:
    """Trains a recipe in this process and in two of their own; the folders of both runs."""

    def trained(recipe: Path) -> tuple[Path, Path]:
        two_processes(train_recipe, recipe, tmp_path / "2", ACCELERATE_USE_CPU="true")
        train_recipe(recipe, tmp_path / "1")
        return tmp_path / "1", tmp_path / "2"

    return trained


@pytest.fixture
def logged() -> Callable[[Path], list[dict[str, Any]]]:
    """The lines of a run's metrics that have a training loss."""

    def read(run: Path) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [row for row in rows if "train/loss" in row]

    return read
