"""What folders of models say about our classes: diffusers takes our modules for ours, and every named module exists."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import diffusers
import pytest
from diffusers.pipelines.pipeline_loading_utils import _fetch_class_library_tuple

from mappers.hub import embedded_models
from mappers.v2a import RegressionMapper
from pipelines.audio.griffin_lim import GriffinLim

ROOT = Path(__file__).parents[3]
OURS = ("mappers", "nerf", "pipelines", "demos")


@pytest.mark.parametrize("folder", ["audio", "personalization", "editing", "nano"])
def test_diffusers_has_no_folder_of_pipelines_named_like_ours(folder: str) -> None:
    """It takes a class for one of its own pipelines' parts if the folder of its module is an attribute there."""
    assert (ROOT / "pipelines" / folder).is_dir()
    assert not hasattr(diffusers.pipelines, folder)


def test_diffusers_names_our_modules_in_full() -> None:
    """These names go into ``model_index.json``."""
    assert _fetch_class_library_tuple(GriffinLim()) == ("pipelines.audio.griffin_lim", "GriffinLim")
    assert _fetch_class_library_tuple(RegressionMapper(4, 4)) == ("mappers.v2a", "RegressionMapper")


def named_modules(index: dict[str, object]) -> list[tuple[str, str]]:
    """Pairs of module and class in the contents of a ``model_index.json``."""
    pairs = [value for value in index.values() if isinstance(value, list) and len(value) == 2]
    return [(str(module), str(name)) for module, name in pairs if module is not None]


def test_every_model_index_names_classes_that_exist() -> None:
    indices = sorted(path for top in OURS for path in (ROOT / top).rglob("model_index.json"))
    found = [pair for path in indices for pair in named_modules(json.loads(path.read_text(encoding="utf-8")))]
    ours = [(module, name) for module, name in found if module.split(".")[0] in OURS]
    assert ("pipelines.audio.griffin_lim", "GriffinLim") in ours
    for module, name in found:
        assert hasattr(importlib.import_module(module), name), (module, name)
    for module, _ in ours:
        # diffusers finds the loading function by this name in the module itself.
        assert hasattr(importlib.import_module(module), "ModelMixin"), module


def test_every_config_names_a_class_of_diffusers_or_of_ours() -> None:
    paths = [path for model in embedded_models() for path in model.folder.rglob("*.json")]
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    names = {content["_class_name"] for content in contents if "_class_name" in content}
    modules = [path.read_text(encoding="utf-8") for top in OURS for path in (ROOT / top).rglob("*.py")]
    assert {"GriffinLim", "DiffusionPriorMapper", "RegressionMapper", "VisionToAudioPipeline"} <= names
    for name in names:
        assert hasattr(diffusers, name) or any(f"class {name}(" in module for module in modules), name
