"""Files in the format of NeTI's official code, written here, against a forward pass written out from that format."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.personalization.concepts import load_concept, save_concept
from pipelines.personalization.official_neti import import_neti
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.tokens import category_embedding

TOKEN, CATEGORY = "<cat-toy>", "toy"


class Encoding(nn.Module):
    """Pickled under the official name; ``w`` is a plain attribute after a run on a GPU, a parameter on a CPU."""

    def __init__(self, registered: bool):
        super().__init__()
        self.sigma_t, self.sigma_l, self.num_w = 0.03, 2.0, 1024
        w = torch.randn(1024, 2) * torch.tensor([0.03, 2.0])
        self.w = nn.Parameter(w) if registered else w


Encoding.__module__, Encoding.__qualname__ = "models.positional_encoding", "NeTIPositionalEncoding"


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> type[Encoding]:
    """Makes `Encoding` picklable; a test that loads needs no such module."""
    module = ModuleType(Encoding.__module__)
    module.NeTIPositionalEncoding = Encoding  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "models", ModuleType("models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Encoding


def write(folder: Path, pipeline: NeTIPipeline, *, registered: bool = False, **changes: Any) -> tuple[Path, Path, dict]:
    """``mapper-steps-4.pt`` and ``learned_embeds-steps-4.bin`` of a run on ``pipeline``'s model."""
    torch.manual_seed(5)
    vector = category_embedding(pipeline.tokenizer, pipeline.text_encoder, CATEGORY)
    shapes = {
        "input_layer": (160, 2048), "net.1": (128, 160), "net.2": (128,), "net.4": (128, 128), "net.5": (128,),
        "output_layer.0": (32, 128),
    }  # fmt: skip
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(shape) * 0.3, torch.randn(shape[0]) * 0.3
    state["net.0.weight"], state["net.0.bias"] = state["input_layer.weight"], state["input_layer.bias"]
    settings = {
        "pretrained_model_name_or_path": str(pipeline.model_id), "use_nested_dropout": True, "nested_dropout_prob": 0.5,
        "normalize_mapper_output": True, "target_norm": float(vector.norm()), "use_positional_encoding": True,
        "pe_sigmas": {"sigma_t": 0.03, "sigma_l": 2.0}, "num_pe_time_anchors": 10, "output_bypass": True,
    }  # fmt: skip
    stored = {
        "state_dict": state,
        "cfg": {"model": settings, "data": {"super_category_token": CATEGORY, "placeholder_token": TOKEN}},
        "encoder": Encoding(registered),
    }
    stored.update(changes)
    torch.save(stored, folder / "mapper-steps-4.pt")
    torch.save({TOKEN: vector.clone()}, folder / "learned_embeds-steps-4.bin")
    return folder / "mapper-steps-4.pt", folder / "learned_embeds-steps-4.bin", stored


def reference(stored: dict, time: float, layer: int, kept: int = 128) -> Tensor:
    """What the official mapper answers at one (timestep, layer)."""
    state, w = stored["state_dict"], stored["encoder"].w.detach()
    angles = w @ torch.tensor([time, float(layer)])
    x = torch.cat([angles.sin(), angles.cos()])
    x = x / x.norm()
    x = state["input_layer.weight"] @ x + state["input_layer.bias"]
    for linear, norm in (("net.1", "net.2"), ("net.4", "net.5")):
        x = state[f"{linear}.weight"] @ x + state[f"{linear}.bias"]
        x = F.leaky_relu(F.layer_norm(x, (128,), state[f"{norm}.weight"], state[f"{norm}.bias"]))
    x[kept:] = 0
    x = state["output_layer.0.weight"] @ x + state["output_layer.0.bias"]
    return x / x.norm() * stored["cfg"]["model"]["target_norm"]


@pytest.mark.parametrize("registered", [False, True])
def test_the_imported_mapper_answers_as_the_official_one(
    official: type, registered: bool, pipeline: NeTIPipeline, tmp_path: Path
) -> None:
    mapper, embeds, stored = write(tmp_path, pipeline, registered=registered)
    concept = load_concept(save_concept(import_neti(mapper, embeds), tmp_path / "concept.safetensors"))
    assert (concept.token, concept.category) == (TOKEN, CATEGORY)
    for time, layer, kept in ((0, 0, 128), (981, 3, 128), (431, 15, 128), (431, 15, 20)):
        word = concept.mapper(torch.tensor([float(time)]), torch.tensor([layer]), truncation=kept)
        assert word.bypass is not None
        ours = torch.cat([word.embedding, word.bypass], dim=1)[0]
        torch.testing.assert_close(ours, reference(stored, time, layer, kept), rtol=1e-4, atol=1e-4)
    assert pipeline.load_concept(concept) == TOKEN


def test_a_run_that_was_resumed_lists_the_encoding_twice(
    official: type, pipeline: NeTIPipeline, tmp_path: Path
) -> None:
    mapper, embeds, stored = write(tmp_path, pipeline)
    stored["state_dict"]["encoder.w"] = stored["encoder"].w
    torch.save(stored, mapper)
    assert torch.equal(import_neti(mapper, embeds).mapper.state_dict()["encoding.frequencies"], stored["encoder"].w)


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


def test_code_in_either_file_never_runs(
    official: type, pipeline: NeTIPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mapper, embeds, _ = write(tmp_path, pipeline, encoder=Bomb())
    with pytest.raises(ValueError, match=r"refusing .*mapper-steps-4.pt"):
        import_neti(mapper, embeds)
    mapper, embeds, _ = write(tmp_path, pipeline)
    torch.save({TOKEN: Bomb()}, embeds)
    with pytest.raises(ValueError, match=r"refusing .*learned_embeds"):
        import_neti(mapper, embeds)
    assert not (tmp_path / "exploded").exists()


def test_what_does_not_fit_says_so(official: type, pipeline: NeTIPipeline, tmp_path: Path) -> None:
    mapper, embeds, stored = write(tmp_path, pipeline)
    whole = mapper.read_bytes()
    mapper.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        import_neti(mapper, embeds)
    with pytest.raises(FileNotFoundError, match="nothing.pt"):
        import_neti(tmp_path / "nothing.pt", embeds)
    torch.save({"weights": 1}, mapper)
    with pytest.raises(ValueError, match="not an official NeTI mapper"):
        import_neti(mapper, embeds)
    for name, value, complaint in (
        ("output_layer.0.weight", torch.zeros(1536, 128), "does not fit a mapper of 16 layers, 16 wide"),
        ("net.0.bias", torch.zeros(160), "one layer under two names, differ"),
        ("net.1.bias", torch.full((128,), float("nan")), "not finite"),
    ):
        torch.save(stored | {"state_dict": stored["state_dict"] | {name: value}}, mapper)
        with pytest.raises(ValueError, match=complaint):
            import_neti(mapper, embeds)
    torch.save(stored, mapper)
    torch.save({TOKEN: torch.ones(16)}, embeds)
    with pytest.raises(ValueError, match="another base model"):
        import_neti(mapper, embeds)
