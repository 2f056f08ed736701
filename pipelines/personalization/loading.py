"""Text-to-image models from folders, single files and the hub, with one sentence for what cannot be used; and LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin

from mappers.hub import resolve, why_not_loaded

from ..plugging.objectives import OBJECTIVES

P = TypeVar("P", bound=DiffusionPipeline)

SINGLE_FILES = (".safetensors",)
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
"""Endings of checkpoints that can hold code."""
NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""Parts that every usable model has."""
FAMILIES = "Stable Diffusion 1, 2 or XL"


def load_model(cls: type[P], model: str | Path, *, dtype: torch.dtype, config: str | Path | None = None) -> P:
    """A model's parts as a pipeline of ``cls``, on the CPU and without a safety checker.

    Where a folder or repository has its weights in half precision only (``*.fp16.safetensors``), those are read.

    Args:
        cls: the class.
        model: "nano", a folder in diffusers' layout, a single ``.safetensors`` file, or a hub id.
        dtype: precision of the weights.
        config: of a single file, a folder or hub id in diffusers' layout with the same parts; None takes that of the
            published model of its family, from the hub.

    Raises:
        FileNotFoundError: ``model`` names nothing that exists or can be loaded.
        ValueError: it is of another family.
    """
    plain: dict[str, Any] = {"dtype": dtype, "safety_checker": None, "requires_safety_checker": False}
    path = Path(model).expanduser()
    try:
        if path.is_file():
            return _from_file(cls, path, config, plain)
        source = resolve(model, "text-to-image")
        check_family(str(model), cls.load_config(source))
        try:
            return cls.from_pretrained(source, **plain)
        except OSError as error:
            if "no file named" not in str(error):
                raise
            try:
                return cls.from_pretrained(source, variant="fp16", **plain)
            except (OSError, ValueError):
                raise error from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileNotFoundError(
            f"could not load the model {str(model)!r} ({why_not_loaded(error)}); "
            "give a Stable Diffusion folder, or use 'nano' to run without downloads"
        ) from error


def _from_file(cls: type[P], path: Path, config: str | Path | None, plain: Mapping[str, Any]) -> P:
    """A model in one file, as Civitai distributes them."""
    if path.suffix.lower() in PICKLED:
        raise ValueError(f"{path} can hold code, which loading would run; give the model's .safetensors file instead")
    if path.suffix.lower() not in SINGLE_FILES:
        raise ValueError(f"{path} is no model; give a folder in diffusers' layout or a .safetensors file")
    source: dict[str, Any] = {} if config is None else {"config": resolve(config, "text-to-image")}
    try:
        return cls.from_single_file(str(path), local_files_only=config is not None, **source, **plain)  # pyright: ignore
    except Exception as error:
        # What a file without the right weights raises depends on where the conversion fails.
        how = (
            "give its configuration as --model-config (config=), a folder or hub id in diffusers' layout"
            if config is None
            else f"is {config} the configuration of its model?"
        )
        raise FileNotFoundError(f"could not load the model file {path} ({why_not_loaded(error)}); {how}") from error


def check_family(model: str, index: Mapping[str, Any]) -> None:
    """Refuse a model of another family by its ``model_index.json``, before anything is loaded.

    Raises:
        ValueError: naming what it is.
    """
    kind = str(index.get("_class_name", "pipeline of an unknown class"))
    if kind in OBJECTIVES:
        raise ValueError(
            f"the model {model!r} is a {kind}, which has a transformer; load it with diffusers, then learn words by "
            "pipelines.personalize(..., model=pipe) and draw learned ones by concept.plug(pipe)"
        )
    absent = [name for name in NEEDED if not (index.get(name) or [None])[0]]
    if absent:
        refiner = index.get("text_encoder_2") and absent == ["text_encoder", "tokenizer"]
        what = "the refiner of Stable Diffusion XL" if refiner else f"a {kind}, without {', '.join(absent)}"
        raise ValueError(f"the model {model!r} is {what}; words can be learned for {FAMILIES}, so give such a model")


def check_parts(unet: Any, vae: Any) -> None:
    """Refuse a UNet that does not read plain latents, such as that of an inpainting model.

    Raises:
        ValueError: it reads other channels.
    """
    reads, latent = unet.config.in_channels, vae.config.latent_channels
    if reads != latent:
        inpainting = " and is that of an inpainting model" if reads == 2 * latent + 1 else ""
        raise ValueError(
            f"the model's UNet reads {reads} channels, of which {latent} are the picture's{inpainting}; take the model "
            "that it was made from, which draws over pictures too: image= and mask="
        )


def native_size(unet: Any, factor: int) -> tuple[int, int]:
    """Width and height in pixels of a model's own pictures, of which its latents have the ``factor``-th part."""
    side = unet.config.sample_size
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return width * factor, height * factor


class LoraLoaderMixin(StableDiffusionLoraLoaderMixin):
    """diffusers' loader of the model's own family: that of Stable Diffusion XL where there is a second text encoder."""

    _lora_loadable_modules = ["unet", "text_encoder", "text_encoder_2"]  # noqa: RUF012

    text_encoder_2: Any

    def load_lora_weights(self, *args: Any, **kwargs: Any) -> None:
        """As diffusers' pipelines do, in diffusers' layout or in kohya's."""
        if self.text_encoder_2 is None:
            super().load_lora_weights(*args, **kwargs)
        else:
            StableDiffusionXLLoraLoaderMixin.load_lora_weights(self, *args, **kwargs)  # pyright: ignore

    def fuse_lora(self, components: list[str] | None = None, **kwargs: Any) -> None:
        """As diffusers' pipelines do; None takes all parts."""
        super().fuse_lora(components or self._parts_with_lora(), **kwargs)

    def unfuse_lora(self, components: list[str] | None = None, **kwargs: Any) -> None:
        """As diffusers' pipelines do; None takes all parts."""
        super().unfuse_lora(components or self._parts_with_lora(), **kwargs)

    def _parts_with_lora(self) -> list[str]:
        return [name for name in self._lora_loadable_modules if getattr(self, name) is not None]
