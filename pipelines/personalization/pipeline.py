"""`NeTIPipeline`: Stable Diffusion that understands words learned by `pipelines.personalize`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from mappers.devices import default_device
from mappers.neti import Envelope
from mappers.pixels import check_finite, check_side

from ..plugging import sites
from ..plugging.context_socket import ContextSocket
from ..plugging.socket import PluggedWord
from .attention import layer_levels
from .concept_loading import ConceptLoaderMixin
from .concepts import Concept
from .contexts import ContextTable
from .inpainting import fitted, fitted_mask, steps_for_strength
from .loading import LoraLoaderMixin, check_family, check_parts, load_model, native_size
from .regions import check_size
from .text_encoding import TextEncoders, check_text_encoders
from .tokens import split_at_tokens

STOCK: dict[str, tuple[Any, Any]] = {
    "text": (diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline),
    "image": (diffusers.StableDiffusionImg2ImgPipeline, diffusers.StableDiffusionXLImg2ImgPipeline),
    "mask": (diffusers.StableDiffusionInpaintPipeline, diffusers.StableDiffusionXLInpaintPipeline),
}
"""diffusers' own pipelines that draw, for Stable Diffusion 1 and 2 and for XL: from text, over a picture, in a mask."""
OUTPUTS = ("pil", "np", "pt", "latent")


class NeTIPipeline(ConceptLoaderMixin, LoraLoaderMixin, StableDiffusionPipeline):
    """Text-to-image with learned words (NeTI, arXiv 2305.15391), drawn by diffusers' own pipelines.

    The words are plugged in as `Concept.plug` does it. It has the components of a `StableDiffusionPipeline`, or of a
    `StableDiffusionXLPipeline` with its second text encoder, and changes none of them: learned words are kept apart
    from the model, so that `unload_concept` leaves it bit for bit as it was. A prompt may hold any loaded word any
    number of times, and none at all.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->unet->vae"
    _optional_components = [*StableDiffusionPipeline._optional_components, "text_encoder_2", "tokenizer_2"]  # noqa: RUF012

    @classmethod
    def from_model(
        cls,
        model: str | Path = "nano",
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        config: str | Path | None = None,
    ) -> NeTIPipeline:
        """Load a model of the family of Stable Diffusion 1, 2 or XL, frozen.

        No safety checker is loaded. `from_pipe` and the constructor keep one, and each call then asks it.

        Args:
            model: "nano", a folder, a ``.safetensors`` file of the whole model, or a hub id. Weights that are there in
                half precision only (``*.fp16.safetensors``) are found.
            device: where to; None takes the accelerator when there is one.
            dtype: precision of the weights; None takes fp32.
            config: of a single file, a folder or hub id in diffusers' layout with the same parts; see `load_model`.

        Raises:
            FileNotFoundError: ``model`` names nothing that exists.
            ValueError: it is of another family, or an inpainting model.
        """
        pipeline = load_model(cls, model, dtype=dtype or torch.float32, config=config)
        pipeline.model_id = str(model)
        # Torch rounds otherwise where weights might take gradients: a word must draw alike where it was learned.
        for module in (pipeline.unet, *pipeline.text.encoders, pipeline.vae):
            module.requires_grad_(False).eval()
        return pipeline.to(device or default_device())

    @classmethod
    def of(cls, pipe: DiffusionPipeline) -> NeTIPipeline:
        """The parts of a pipeline that is there already, such as one with a ControlNet; they are shared, not copied.

        Raises:
            ValueError: it has no part that Stable Diffusion 1, 2 or XL has, or an inpainting model's UNet.
        """
        names = [name for name in inspect.signature(cls.__init__).parameters if name in pipe.components]
        kind, parts = type(pipe).__name__, {name: [part] for name, part in pipe.components.items()}
        check_family(kind, parts | {"_class_name": kind})
        kept = {name: pipe.components[name] for name in names if name not in ("safety_checker", "image_encoder")}
        pipeline = cls(**kept, requires_safety_checker=False)
        pipeline.model_id = str(pipe.config.get("_name_or_path") or "")
        return pipeline

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: Any,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        image_encoder: Any = None,
        requires_safety_checker: bool = False,
        text_encoder_2: CLIPTextModelWithProjection | None = None,
        tokenizer_2: CLIPTokenizer | None = None,
        force_zeros_for_empty_prompt: bool | None = None,
    ):
        check_parts(unet, vae)
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
            requires_safety_checker=requires_safety_checker,
        )
        self.register_modules(text_encoder_2=text_encoder_2, tokenizer_2=tokenizer_2)
        if force_zeros_for_empty_prompt is None:  # no component: whoever passes those alone gets each family's default
            force_zeros_for_empty_prompt = text_encoder_2 is not None
        self.register_to_config(force_zeros_for_empty_prompt=force_zeros_for_empty_prompt)
        check_text_encoders(unet, text_encoder, text_encoder_2)
        if safety_checker is not None and text_encoder_2 is not None:
            raise ValueError("diffusers asks no safety checker about pictures of Stable Diffusion XL; leave it out")
        self.model_id = ""
        self.concepts: dict[str, Concept] = {}
        self.cross_attentions = sites.cross_attentions(self.unet)
        """Names in execution order, which is how layers are numbered."""
        self.layers = len(self.cross_attentions)
        self.blocks = sites.blocks_of(self.cross_attentions)
        """Attention block of each layer, in execution order: SDXL has 70 layers in 11 blocks, SD 16 in 16."""

    @property
    def components(self) -> dict[str, Any]:
        """All parts by name; those of Stable Diffusion XL only in a model that has them."""
        own = ("text_encoder_2", "tokenizer_2")
        return {name: part for name, part in super().components.items() if part is not None or name not in own}

    @property
    def text(self) -> TextEncoders:
        """The text encoders as one."""
        device = self._execution_device
        if self.text_encoder_2 is None:
            return TextEncoders([self.tokenizer], [self.text_encoder], device)
        return TextEncoders([self.tokenizer, self.tokenizer_2], [self.text_encoder, self.text_encoder_2], device)

    def fine_layers(self) -> list[int]:
        """The cross-attentions, in execution order, in the finer half of the UNet's resolutions.

        They draw a thing's appearance, the coarser ones its geometry (arXiv 2303.09522, section 4.2).
        """
        levels = layer_levels(self.unet, self.cross_attentions)
        coarsest = len(self.unet.config.down_block_types) - 1
        return [i for i, level in enumerate(levels) if 2 * level <= coarsest]

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        negative_prompt: str | Sequence[str] | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        truncation: int | Envelope | None = None,
        regions: Mapping[str, Image.Image] | None = None,
        image: Image.Image | None = None,
        mask: Image.Image | None = None,
        strength: float = 0.8,
        height: int | None = None,
        width: int | None = None,
        output_type: str = "pil",
        **options: Any,
    ) -> Any:
        """Generate pictures by diffusers' own pipeline of the model's family.

        Args:
            prompt: one or several prompts; loaded words are written in them as they are, "a photo of <cat>".
            negative_prompt: what to move away from, one or as many as prompts; may hold loaded words too. None: from
                the empty prompt or, where the model was made for it (SDXL), from a context of zeros.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 and below switch it off.
            truncation: units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`.
            regions: for some words the part of the picture that they act in, in white, as large as the picture.
            image, mask: a picture to start from instead of noise; where to draw over it, in white (None: everywhere).
            strength: share of the schedule that is run on ``image``: near 0 hardly anything changes, 1 runs all of it.
            height, width: pixels, multiples of 8 and of the autoencoder's factor; None takes the model's own size.
            output_type: "pil", "np", "pt" or "latent".
            options: all others of diffusers' pipeline, such as ``num_images_per_prompt``, ``generator``, ``latents``,
                ``prompt_embeds`` (see `encode`), ``clip_skip``, ``ip_adapter_image`` and ``callback_on_step_end``.

        Returns:
            What diffusers' pipeline returns: ``.images``.

        Raises:
            ValueError, NotFiniteError: an argument is out of range, a word is cut off, or the model overflowed.
        """
        size = self._size(height, width)
        given: dict[str, Any] = {"num_inference_steps": num_inference_steps, "output_type": output_type}
        _check_options(given, image, mask, options.get("num_images_per_prompt", 1))
        texts = _prompts(prompt, negative_prompt)
        self._plug(truncation, self._regions(regions, texts, size))
        if prompt is None and (truncation is not None or regions):
            raise ValueError("truncation and regions are part of prompt embeddings; give them to pipeline.encode")
        kind = "text" if image is None else "image" if mask is None else "mask"
        given |= {} if kind == "image" else {"height": size[1], "width": size[0]}
        if image is not None:
            steps_for_strength(num_inference_steps, strength)
            given |= {"image": fitted(image, size), "strength": strength}
        if image is not None and mask is not None:
            given["mask_image"] = fitted_mask(mask, image, size)
        overflow = self.vae.decoder.register_forward_hook(self._check_decoded)
        try:
            return self._stock(kind, options)(**texts, guidance_scale=guidance_scale, **given, **options)
        finally:
            overflow.remove()
            self.maybe_free_model_hooks()

    @cached_property
    def socket(self) -> ContextSocket:
        """Where the loaded words are plugged in."""
        return ContextSocket(self._stock("text", plugged=False))

    def _stock(self, kind: str, options: Iterable[str] = (), *, plugged: bool = True) -> Any:
        """diffusers' own pipeline of this model's parts as they are now, with the words.

        Raises:
            TypeError: its calls take no argument of a name among ``options``; some would ignore it in silence.
        """
        xl = self.text_encoder_2 is not None
        settings = {
            "force_zeros_for_empty_prompt": self.config.force_zeros_for_empty_prompt, "add_watermarker": False,
        } if xl else {"requires_safety_checker": self.config.requires_safety_checker}  # fmt: skip
        cls = STOCK[kind][xl]
        for name in options:
            if name not in inspect.signature(cls.__call__).parameters:
                raise TypeError(f"{cls.__name__} got an unexpected keyword argument {name!r}")
        takes = [name for name in inspect.signature(cls.__init__).parameters if name in self.components]
        # Its constructor would change settings of the scheduler, which is the user's.
        stock = cls(**{name: self.components[name] for name in takes} | {"scheduler": None}, **settings)
        stock.register_modules(scheduler=self.scheduler)
        stock.set_progress_bar_config(**getattr(self, "_progress_bar_config", {}))
        if plugged:
            self.socket.move_to(stock)
        return stock

    def _plug(self, truncation: int | Envelope | None = None, regions: Mapping[str, Image.Image] | None = None) -> None:
        """Plug in the words that are loaded now, with the settings of a call."""
        for gone in [token for token in self.socket.words if token not in self.concepts]:
            self.socket.unplug(gone)
        for token, concept in self.concepts.items():
            word = PluggedWord(concept, truncation=truncation, region=(regions or {}).get(token))
            if token in self.socket.words:
                self.socket.words[token] = word
            else:
                self.socket.add(token, word, any_base=True)

    def encode(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str] | None = None,
        *,
        truncation: int | Envelope | None = None,
        regions: Mapping[str, Image.Image] | None = None,
    ) -> dict[str, Tensor]:
        """Encode prompts once, to draw them with many seeds: ``pipeline(**pipeline.encode("a <cat>"), ...)``.

        The words are those that are loaded now; encode again after loading or training one.

        Args:
            prompt, negative_prompt, truncation, regions: as when the pipeline is called.

        Returns:
            ``prompt_embeds`` and ``negative_prompt_embeds``; see `ContextSocket.encode`.

        Raises:
            ValueError: a word is cut off.
        """
        texts = _prompts(prompt, negative_prompt)
        self._plug(truncation, self._regions(regions, texts, None))
        self._stock("text")
        return self.socket.encode(**texts)

    def contexts(self, prompts: Sequence[str], truncation: int | Envelope | None = None) -> ContextTable:
        """What each layer reads of ``prompts`` at each timestep, with the words as they are now.

        Args:
            prompts: prompts, with words or without.
            truncation: as when the pipeline is called.

        Raises:
            ValueError: a word is cut off.
        """
        self._plug(truncation)
        self._stock("text")
        return self.socket.contexts(prompts)

    def _size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Width and height of the pictures.

        Raises:
            ValueError: diffusers or the autoencoder cannot draw them.
        """
        own = native_size(self.unet, self.vae_scale_factor)
        factor = math.lcm(self.vae_scale_factor, 8)
        width, height = own[0] if width is None else width, own[1] if height is None else height
        if height % factor or width % factor or min(height, width) < factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {height}x{width}")
        check_side(max(height, width), name="height or width")
        return width, height

    def _regions(
        self, regions: Mapping[str, Image.Image] | None, texts: Mapping[str, Any], size: tuple[int, int] | None
    ) -> Mapping[str, Image.Image]:
        """Masks of words, as they are given.

        Raises:
            ValueError: a word is not loaded or in no prompt; a mask is not of ``size``, if that is known.
        """
        every = [text for value in texts.values() for text in ([value] if isinstance(value, str) else value or [])]
        used = {token for text in every for _, token in split_at_tokens(text, list(self.concepts))}
        for word, mask in (regions or {}).items():
            if word not in self.concepts:
                raise ValueError(f"regions name {word!r}, which is not loaded; loaded are {sorted(self.concepts)}")
            if word not in used:
                raise ValueError(
                    f"regions name {word!r}, which is in no prompt; write it there, or leave its region out"
                )
            if size is not None:
                check_size(word, mask.size, size)
        return regions or {}

    def _check_decoded(self, _module: Any, _args: Any, pictures: Any) -> None:
        pictures = pictures if isinstance(pictures, Tensor) else pictures[0]
        check_finite(pictures, f"the model overflows in {self.unet.dtype}; load it with dtype float32 or bfloat16")


def _prompts(
    prompt: str | Sequence[str] | None, negative: str | Sequence[str] | None
) -> dict[str, str | list[str] | None]:
    """Prompts as diffusers takes them.

    Raises:
        ValueError: there is no prompt, or another number of negative prompts.
    """
    first = prompt if prompt is None or isinstance(prompt, str) else list(prompt)
    second = negative if negative is None or isinstance(negative, str) else list(negative)
    if first == []:
        raise ValueError("prompt is empty; give at least one prompt")
    count = len(first) if isinstance(first, list) else 1
    if isinstance(second, list) and len(second) == 1:
        second = second[0]
    if isinstance(second, list) and first is not None and len(second) != count:
        raise ValueError(f"negative_prompt has {len(second)} entries for {count} prompts; give one or as many")
    if isinstance(first, list) and isinstance(second, str):
        second = [second] * count
    return {"prompt": first, "negative_prompt": second}


def _check_options(
    given: Mapping[str, Any], image: Image.Image | None, mask: Image.Image | None, per_prompt: int
) -> None:
    steps, output = given["num_inference_steps"], given["output_type"]
    if steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {steps}")
    if per_prompt < 1:
        raise ValueError(f"num_images_per_prompt must be at least 1, got {per_prompt}")
    if output not in OUTPUTS:
        raise ValueError(f"output_type must be pil, np, pt or latent, got {output!r}")
    if image is None and mask is not None:
        raise ValueError("mask needs the picture that it belongs to; give image= as well")
