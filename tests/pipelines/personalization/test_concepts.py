"""Concept files: exact round trip; damaged, malicious and foreign ones are refused in a sentence."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept, load_concept, public_name, save_concept
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.tokens import check_token


def concept(pipeline: NeTIPipeline, **changes: object) -> Concept:
    mapper = NeTIMapper(16, 16, 20.0, bypass=False, seed=3)
    return dataclasses.replace(Concept("<cat>", "toy", mapper, pipeline.base, "tiny", {"seed": 3}), **changes)


def test_round_trip_is_bit_equal(pipeline: NeTIPipeline, tmp_path: Path) -> None:
    saved = concept(pipeline)
    loaded = load_concept(save_concept(saved, tmp_path / "c.safetensors"))
    assert (loaded.token, loaded.category, loaded.model, loaded.settings) == (
        "<cat>",
        "toy",
        "tiny",
        {"seed": 3},
    )
    for name, value in saved.mapper.state_dict().items():
        assert torch.equal(value, loaded.mapper.state_dict()[name])
    assert not loaded.mapper.config.bypass
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_truncated(pipeline: NeTIPipeline, tmp_path: Path) -> None:
    path = save_concept(concept(pipeline), tmp_path / "c.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"c\.safetensors is truncated or not a safetensors file"):
        load_concept(path)


def test_a_pickle_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch owned",)

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.safetensors"
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_concept(path)
    assert not (tmp_path / "owned").exists()


def test_another_file_of_the_format(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="not a concept of mapfield"):
        load_concept(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no concept file"):
        load_concept(tmp_path / "none.safetensors")


def test_not_finite(pipeline: NeTIPipeline, tmp_path: Path) -> None:
    broken = concept(pipeline)
    with torch.no_grad():
        broken.mapper.output.bias[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        load_concept(save_concept(broken, tmp_path / "c.safetensors"))


def test_another_base_model(pipeline: NeTIPipeline) -> None:
    base = pipeline.base
    other = dataclasses.replace(base, sketch=[x * 1.5 for x in base.sketch])
    with pytest.raises(ValueError, match="<cat> was learned on another base model.*other weights"):
        pipeline.load_concept(concept(pipeline, base=other))
    wider = dataclasses.replace(base, width=768, layers=70)
    with pytest.raises(ValueError, match="70 cross-attention layers and 768-wide.*16 and 16"):
        pipeline.load_concept(concept(pipeline, base=wider))


def test_the_fingerprint_survives_half_precision(pipeline: NeTIPipeline) -> None:
    full = pipeline.base
    for dtype in (torch.float16, torch.bfloat16):
        pipeline.unet.to(dtype)
        pipeline.text_encoder.to(dtype)
        assert full.difference(pipeline.base) is None
        pipeline.unet.float()
        pipeline.text_encoder.float()


@pytest.mark.parametrize(
    ("token", "message"),
    [("", "token is empty"), ("  ", "token is empty"), ("my cat", "has spaces"), ("cat", "already knows")],
)
def test_bad_tokens(pipeline: NeTIPipeline, token: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_token(token, pipeline.tokenizer)


@pytest.mark.parametrize(
    ("model", "shared"),
    [
        ("nano", "nano"),
        ("stabilityai/sdxl-base-1.0", "stabilityai/sdxl-base-1.0"),
        ("/home/alice/secret/sd15", "sd15"),
        ("./models/sd15", "sd15"),
        ("~/models/sd15.safetensors", "sd15.safetensors"),
        ("secret/models/sd15", "sd15"),
    ],
)
def test_a_file_names_no_folder_of_its_maker(pipeline: NeTIPipeline, tmp_path: Path, model: str, shared: str) -> None:
    assert public_name(model) == shared
    file = save_concept(concept(pipeline, model=model), tmp_path / "concept.safetensors")
    assert load_concept(file).model == shared
    assert b"secret" not in file.read_bytes()


def test_an_existing_relative_folder_is_private_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "sd15").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("models/sd15") == "sd15"


def test_a_finetuned_model_takes_a_word_only_when_told_to(
    pipeline: NeTIPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    learned = Concept("<x>", "toy", NeTIMapper(pipeline.layers, 16, 20.0), pipeline.base, "sd15")
    with torch.no_grad():
        pipeline.unet.conv_in.weight.mul_(1.2)
    with pytest.raises(ValueError, match=r"another base model \(sd15\): other weights .*insist with --any-base"):
        pipeline.load_concept(learned)
    assert pipeline.load_concept(learned, any_base=True) == "<x>"
    assert "the concept <x> was learned on another base model (sd15): other weights" in caplog.text
    pipeline("a <x>", num_inference_steps=1)
    other = dataclasses.replace(learned, base=dataclasses.replace(learned.base, width=99))
    with pytest.raises(ValueError, match="99-wide text embeddings, the loaded model has"):
        pipeline.load_concept(other, any_base=True)


def test_words_that_differ_in_capitals_alone_are_refused(pipeline: NeTIPipeline) -> None:
    learned = Concept("<my-toy>", "toy", NeTIMapper(pipeline.layers, 16, 20.0), pipeline.base)
    pipeline.load_concept(learned)
    pipeline.load_concept(learned)
    with pytest.raises(ValueError, match=r"'<My-Toy>' differs from the loaded word '<my-toy>' in capitals alone"):
        pipeline.load_concept(learned, token="<My-Toy>")
