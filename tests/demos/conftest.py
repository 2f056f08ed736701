"""Tiny random category models for the tests of the tab Edit 3D, and tidying up after a page was built."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


def write_model(folder: Path, family: str) -> Path:
    """A random category model that is seen, and a mapper that moves codes by whatever it is given."""
    import torch

    from mappers.code_mapper import CodeMapper
    from nerf.conditional import ConditionalModel
    from nerf.conditional.clip.scorer import Scorer
    from nerf.conditional.families import FAMILIES
    from nerf.fields.conditional import ConditionalConfig, ConditionalField

    small = ConditionalConfig(
        shape_code=4, appearance_code=3, layers=2, width=24, octaves=4, deform_layers=1, deform_width=16, features=8,
        color_layers=1, color_width=16,
    )  # fmt: skip
    torch.manual_seed(len(family))
    field = ConditionalField(FAMILIES[family].bounds, small)
    torch.nn.init.normal_(field.deform.last.weight)
    torch.nn.init.constant_(field.trunk.last.bias[:1], 3.0)  # dense: rays end soon
    ConditionalModel(field, torch.randn(6, 4), torch.randn(5, 3), family).save(folder)
    spaces = ConditionalModel.load(folder).space, Scorer.load("nano-clip").space
    mapper = CodeMapper(128, 4, 3, hidden=8, field_space=spaces[0], clip_space=spaces[1], clip="nano-clip")
    for net in mapper.nets.values():
        torch.nn.init.normal_(net[-1].weight, std=0.3)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    mapper.save_pretrained(folder / "mapper")
    return folder


@pytest.fixture(scope="session")
def chairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("runs") / "chairs" / "model", "chairs")


@pytest.fixture(scope="session")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("runs") / "cars", "cars")


@pytest.fixture
def loops() -> Iterator[None]:
    """For tests that build a page: gradio leaves its event loops open; not for a later test to stumble over."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        gc.collect()
