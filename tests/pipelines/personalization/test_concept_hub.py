"""Concepts as folders with a card; the hub itself is stood in for by a recorder of what would be sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from mappers.neti import NeTIMapper
from pipelines.personalization import concept_hub
from pipelines.personalization.concepts import Concept
from pipelines.plugging.fingerprint import Fingerprint

REPORT = {
    "scores": {
        "word": {
            "clip_i": {"value": 0.8, "low": 0.7, "high": 0.9},
            "clip_t": {"value": 0.3, "low": 0.2, "high": 0.4},
        },
        "training pictures": {"clip_i": {"value": 0.95, "low": 0.95, "high": 0.95}},
    },
    "judges": {"clip": "nano-clip", "dino": None},
    "settings": {"seeds": 4},
}


def concept(model: str = "someone/model") -> Concept:
    mapper = NeTIMapper(16, 16, 20.0, seed=3).eval()
    return Concept("<cat>", "toy", mapper, Fingerprint(16, 16, [0.0]), model, {"seed": 0, "steps": 7})


def test_a_folder_gives_the_same_word_back(tmp_path: Path) -> None:
    folder = concept_hub.save_pretrained(concept(), tmp_path / "cat", samples=Image.new("RGB", (4, 4)))
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "concept.safetensors", "samples.png"]
    for source in (folder, folder / "concept.safetensors"):
        loaded = concept_hub.from_pretrained(source)
        assert loaded.settings == {"seed": 0, "steps": 7}
        point = torch.tensor([3.0]), torch.tensor([5])
        torch.testing.assert_close(loaded.mapper(*point).embedding, concept().mapper(*point).embedding)


def test_the_card_says_what_it_must(tmp_path: Path) -> None:
    folder = concept_hub.save_pretrained(concept(), tmp_path, license="cc-by-4.0", report=REPORT)
    text = (folder / "README.md").read_text(encoding="utf-8")
    about = yaml.safe_load(text.split("---")[1])
    assert about["license"] == "cc-by-4.0"
    assert about["base_model"] == "someone/model"
    assert "| word | 0.800 (0.700 to 0.900) | 0.300 (0.200 to 0.400) |" in text
    assert "| training pictures | 0.950 (0.950 to 0.950) |  |" in text
    assert '"steps": 7' in text
    assert "consent" in text
    assert "samples.png" not in text


def test_folders_of_ones_own_are_not_told(tmp_path: Path) -> None:
    text = concept_hub.card(concept("/home/me/secret/sd14"), license="other", report=None, samples=False)
    assert "secret" not in text
    assert "base_model" not in text
    assert "Not measured" in text


def test_what_is_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Recorder:
        def create_repo(self, repository: str, **options: Any) -> None:
            sent.update(options, repository=repository)

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
            sent.update(files=sorted(path.name for path in Path(folder_path).iterdir()), message=commit_message)
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(concept_hub, "HfApi", Recorder)
    assert concept_hub.push_to_hub(concept(), "me/cat") == "https://hub/me/cat/commit/1"
    assert sent == {
        "repository": "me/cat", "private": True, "exist_ok": True, "files": ["README.md", "concept.safetensors"],
        "message": "Learned <cat>",
    }  # fmt: skip


def test_what_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(concept_hub, "hf_hub_download", offline)
    with pytest.raises(FileNotFoundError, match=r"'me/cat' is neither a folder.*no connection"):
        concept_hub.from_pretrained("me/cat")
