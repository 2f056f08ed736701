"""Models as people have them: half-precision folders, single files, other families, odd settings, LoRA."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.utils import convert_state_dict_to_diffusers

from pipelines.personalization.loading import check_family, check_parts, load_model
from pipelines.personalization.pipeline import NeTIPipeline


def test_weights_in_half_precision_alone_are_found(tiny_model: Path, tmp_path: Path) -> None:
    plain = NeTIPipeline.from_model(tiny_model, device="cpu")
    StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None).save_pretrained(tmp_path, variant="fp16")
    assert not (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").exists()
    again = NeTIPipeline.from_model(tmp_path, device="cpu")
    assert again.unet.dtype == torch.float32
    assert plain.base.difference(again.base) is None


def test_an_incomplete_folder_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    for file in (tmp_path / "model" / "unet").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"could not load the model .*model'.*give a Stable Diffusion folder"):
        NeTIPipeline.from_model(tmp_path / "model", device="cpu")


def test_a_single_file_is_loaded_with_its_configuration(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers converts published layouts only, so what it is called with is checked here."""
    file = tmp_path / "civitai.safetensors"
    file.write_bytes(b"")
    called: dict[str, Any] = {}

    def from_single_file(path: str, **options: Any) -> NeTIPipeline:
        called.update(options, path=path)
        return NeTIPipeline.from_model(tiny_model)

    monkeypatch.setattr(NeTIPipeline, "from_single_file", from_single_file)
    loaded = load_model(NeTIPipeline, file, dtype=torch.float16, config=tiny_model)
    assert isinstance(loaded, NeTIPipeline)
    assert called == {
        "path": str(file), "config": str(tiny_model.resolve()), "local_files_only": True, "dtype": torch.float16,
        "safety_checker": None, "requires_safety_checker": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("model.ckpt", False, r"model.ckpt can hold code, which loading would run; give the model's .safetensors"),
        ("model.png", False, r"model.png is no model; give a folder in diffusers' layout or a .safetensors file"),
        ("model.safetensors", True, r"could not load the model file .*is .* the configuration of its model\?"),
    ],
)
def test_files_that_are_no_models(name: str, config: bool, message: str, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\0" * 100)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        NeTIPipeline.from_model(tmp_path / name, config=tiny_model if config else None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"_class_name": "WanPipeline", "unet": [None, None]}, r"'m' is a WanPipeline, without unet; words can be"),
        ({"_class_name": "FluxPipeline"}, r"'m' is a FluxPipeline, which has a transformer; load it with diffusers"),
        (
            {
                "_class_name": "StableDiffusionXLImg2ImgPipeline", "text_encoder": [None, None],
                "tokenizer": [None, None], "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            },
            r"'m' is the refiner of Stable Diffusion XL; words can be learned for Stable Diffusion 1, 2 or XL",
        ),
    ],
)  # fmt: skip
def test_other_families_are_named(changed: dict[str, Any], message: str, tiny_model: Path, tmp_path: Path) -> None:
    index = json.loads((tiny_model / "model_index.json").read_text()) | changed
    with pytest.raises(ValueError, match=message):
        check_family("m", index)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message.replace("'m'", ".*")):
        NeTIPipeline.from_model(tmp_path)


def test_an_inpainting_model_is_refused_with_the_way_round(pipeline: NeTIPipeline) -> None:
    unet = UNet2DConditionModel.from_config(dict(pipeline.unet.config) | {"in_channels": 9})
    with pytest.raises(ValueError, match=r"reads 9 channels, of which 4 .* is that of an inpainting model; take the"):
        check_parts(unet, pipeline.vae)
    with pytest.raises(ValueError, match="inpainting model"):
        NeTIPipeline(**pipeline.components | {"unet": unet})


def test_converted_models_with_odd_settings_draw(pipeline: NeTIPipeline) -> None:
    options: dict[str, Any] = {"num_inference_steps": 1, "output_type": "np"}
    before = pipeline("a cat", generator=torch.Generator().manual_seed(0), **options).images
    pipeline.tokenizer.model_max_length = int(1e30)
    pipeline.unet.register_to_config(sample_size=[pipeline.unet.config.sample_size] * 2)
    after = pipeline("a cat", generator=torch.Generator().manual_seed(0), **options).images
    np.testing.assert_array_equal(before, after)


def test_the_familys_own_loader_is_called(
    pipeline: NeTIPipeline, sdxl: NeTIPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, Any]] = []
    for family in (StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin):
        name = family.__name__
        monkeypatch.setattr(family, "load_lora_weights", lambda _self, path, name=name: called.append((name, path)))
    pipeline.load_lora_weights("one")
    sdxl.load_lora_weights("two")
    assert called == [("StableDiffusionLoraLoaderMixin", "one"), ("StableDiffusionXLLoraLoaderMixin", "two")]


def test_all_parts_are_fused(pipeline: NeTIPipeline, sdxl: NeTIPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    fused: list[list[str]] = []
    for name in ("fuse_lora", "unfuse_lora"):
        monkeypatch.setattr(StableDiffusionLoraLoaderMixin, name, lambda _self, parts: fused.append(parts))
    sdxl.fuse_lora()
    pipeline.unfuse_lora()
    sdxl.fuse_lora(["unet"])
    assert fused == [["unet", "text_encoder", "text_encoder_2"], ["unet", "text_encoder"], ["unet"]]


def test_sdxl_draws_with_a_lora_as_diffusers_does(tiny_sdxl: Path, sdxl: NeTIPipeline, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    made = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    torch.manual_seed(0)
    parts = (made.unet, ["to_q", "to_v"]), (made.text_encoder, ["q_proj"]), (made.text_encoder_2, ["q_proj"])
    for part, names in parts:
        part.add_adapter(peft.LoraConfig(r=2, init_lora_weights=False, target_modules=names))
    layers = [convert_state_dict_to_diffusers(peft.utils.get_peft_model_state_dict(part)) for part, _ in parts]
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, *layers)
    theirs = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    drawn = []
    for pipeline in (theirs, sdxl):
        pipeline.load_lora_weights(tmp_path)
        noise = torch.Generator().manual_seed(0)
        options: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 5.0, "height": 32, "width": 32}
        drawn.append(pipeline("a cat", generator=noise, output_type="np", **options).images)
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-4)
