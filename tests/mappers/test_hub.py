"""Model ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import are_progress_bars_disabled

from mappers.hub import embedded_models, quiet_loading, resolve, why_not_loaded


def test_folders_ids_and_embedded_models(tmp_path: Path) -> None:
    assert resolve(tmp_path, "CLAP") == str(tmp_path.resolve())
    assert resolve("org/name", "CLIP") == "org/name"
    assert Path(resolve("nano", "text-to-image"), "model_index.json").is_file()
    with pytest.raises(FileNotFoundError, match="'nope' is neither a folder.*use 'nano' to run without downloads"):
        resolve("nope", "text-to-image")
    with pytest.raises(FileNotFoundError, match="nano-clap is for CLAP, and CLIP is needed here; take nano-clip$"):
        resolve("nano-clap", "CLIP")


def test_embedded_models_count_their_weights() -> None:
    nano = next(model for model in embedded_models() if model.id == "nano")
    assert nano.folder.is_absolute()
    assert 10e6 < nano.parameters < 20e6
    assert nano.size == pytest.approx(2 * nano.parameters, rel=0.02)  # fp16
    sizes = {model.id: model.size for model in embedded_models()}
    assert sizes["nano"] + sizes["nano-clip"] <= 40e6
    assert sizes["nano-audio"] + sizes["nano-clap"] <= 16e6
    assert sum(model.size for model in embedded_models() if model.type == "codec") <= 16e6
    assert all(model.size <= 5e6 for model in embedded_models() if model.type == "category field")
    assert all(path.stat().st_size <= 25e6 for model in embedded_models() for path in model.files)


def test_every_embedded_model_has_a_card() -> None:
    """Its own, or one for all codecs in the folder above; what it names by its id it describes."""
    for model in embedded_models():
        cards = [folder / "README.md" for folder in (model.folder, model.folder.parent)]
        card = next(path for path in cards if path.is_file()).read_text(encoding="utf-8")
        assert model.id in card, model.id
        for section in ("## Training", "## Measured", "## Limits", "## Licence"):
            assert section in card, (model.id, section)


def test_a_hub_that_cannot_be_reached_is_said() -> None:
    """Libraries say that the model lacks a file, where it could not be downloaded."""
    with pytest.raises(OSError, match="model_index") as caught:  # noqa: PT012
        try:
            raise LocalEntryNotFoundError("offline")
        except LocalEntryNotFoundError:
            raise OSError("org/name does not appear to have a file named model_index.json") from None
    assert why_not_loaded(caught.value) == "it is not on this computer, and the hub cannot be reached"
    assert why_not_loaded(OSError("first\nsecond")) == "first"
    assert why_not_loaded(OSError()) == "OSError"


def test_models_load_without_progress_and_downloads_with() -> None:
    resolve("nano", "text-to-image")
    quiet_loading()
    assert not transformers.utils.logging.is_progress_bar_enabled()
    assert not are_progress_bars_disabled()
