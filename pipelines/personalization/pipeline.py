"""`NeTIPipeline`: Stable Diffusion that understands words learned by `pipelines.personalize`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from mappers.devices import default_device
from mappers.neti import Envelope
from mappers.pixels import check_finite, check_side

from ..autoencoder import decode
from .attention import LayerContexts, context_attention, cross_attention_order, layer_levels
from .attention_loss import AttentionMaps
from .concept_loading import ConceptLoaderMixin
from .concepts import Concept
from .contexts import ContextTable, truncated
from .inpainting import Generators, InitialPicture, timesteps_for_strength
from .loading import LoraLoaderMixin, check_parts, load_model, native_size
from .prompt_batch import PromptBatch
from .regions import Regions, read_regions
from .text_encoding import TextEncoders, check_text_encoders

StepCallback = Callable[["NeTIPipeline", int, Any, dict[str, Tensor]], dict[str, Tensor] | None]


class NeTIPipeline(ConceptLoaderMixin, LoraLoaderMixin, StableDiffusionPipeline):
    """Text-to-image with learned words (NeTI, arXiv 2305.15391).

    It has the components of a `StableDiffusionPipeline`, or of a `StableDiffusionXLPipeline` with its second text
    encoder, and changes none of them: learned words are kept apart from the model, so that `unload_concept` leaves
    it bit for bit as it was. A prompt may hold any loaded word any number of times, and none at all.
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
        self.model_id = ""
        self.concepts: dict[str, Concept] = {}
        self.cross_attentions = cross_attention_order(self.unet)
        """Names in execution order, which is how layers are numbered."""
        self.layers = len(self.cross_attentions)
        parents = [name.split(".transformer_blocks")[0] for name in self.cross_attentions]
        self.blocks = tuple(list(dict.fromkeys(parents)).index(parent) for parent in parents)
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

    def enable_sequential_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """Not possible: learned words need the token tables' weights, which sequential offload removes between calls.

        Raises:
            NotImplementedError: always; the message names what to use instead.
        """
        raise NotImplementedError(
            "sequential offload leaves no weights that learned words could be compared with; "
            "use enable_model_cpu_offload()"
        )

    def context_of_layer(self, mappers: Iterable[Any]) -> tuple[int, ...] | None:
        """Which context each layer reads when words of ``mappers`` are in the prompts.

        Returns:
            Its block's when all words were learned for blocks; None when each layer reads its own.
        """
        count = max(self.blocks) + 1
        return self.blocks if count < self.layers and all(m.layers == count for m in mappers) else None

    def fine_layers(self) -> list[int]:
        """The cross-attentions, in execution order, in the finer half of the UNet's resolutions.

        They draw a thing's appearance, the coarser ones its geometry (arXiv 2303.09522, section 4.2).
        """
        levels = layer_levels(self.unet, self.cross_attentions)
        coarsest = len(self.unet.config.down_block_types) - 1
        return [i for i, level in enumerate(levels) if 2 * level <= coarsest]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        num_images_per_prompt: int = 1,
        truncation: int | Envelope | None = None,
        contexts: ContextTable | None = None,
        regions: Mapping[str, Image.Image] | None = None,
        image: Image.Image | None = None,
        mask: Image.Image | None = None,
        strength: float = 0.8,
        generator: Generators = None,
        latents: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> StableDiffusionPipelineOutput:
        """Generate pictures.

        Args:
            prompt: one or several prompts; loaded words are written in them as they are, "a photo of <cat>".
            negative_prompt: what to move away from, one or as many as prompts; may hold loaded words too. None: from
                the empty prompt or, where the model was made for it (SDXL), from a context of zeros.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 and below switch it off.
            num_images_per_prompt: pictures of each prompt.
            truncation: units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`.
            contexts: what the method `contexts` gave for these prompts, so that they are not encoded anew.
            regions: for some words the part of the picture that they act in, in white, as large as the picture.
            image, mask: a picture to start from instead of noise; where to draw over it, in white (None: everywhere).
            strength: share of the schedule that is run on ``image``: near 0 hardly anything changes, 1 runs all of it.
            generator: randomness of the initial noise and of stochastic schedulers.
            latents: initial noise [b, c, h/f, w/f] instead of drawn noise.
            height, width: pixels, multiples of the autoencoder's factor; None takes the model's own size.
            output_type: "pil", "np", "pt" or "latent".
            callback_on_step_end: called as in diffusers with {"latents": ...}; may return changed ones.

        Raises:
            ValueError, NotFiniteError: an argument is out of range, a prompt is too long, or the model overflowed.
        """
        size = self._size(height, width)
        _check_options(output_type, image, mask, num_inference_steps)
        batch = self._batch(prompt, negative_prompt, num_images_per_prompt, guidance_scale)
        table = self._table(contexts, batch, truncation)
        where = read_regions(regions, self.text, batch, list(self.concepts), size)
        predict = partial(self._guided, table, batch, where, guidance_scale)
        initial = self._initial_picture(image, mask, size, batch.count, generator)
        timesteps = self._timesteps(num_inference_steps, None if initial is None else strength)
        if initial is None:
            latents = self._noise(latents, batch.count, size, generator)
        else:
            latents = initial.start(self.scheduler, timesteps[0], whole=strength == 1)
        latents = self._denoise(predict, timesteps, latents, initial, generator, callback_on_step_end)
        images, flagged = self._decode(latents, output_type)
        self.maybe_free_model_hooks()
        return StableDiffusionPipelineOutput(images, flagged)

    def _size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Width and height of the pictures.

        Raises:
            ValueError: they are not multiples of the autoencoder's factor.
        """
        factor = self.vae_scale_factor
        own = native_size(self.unet, factor)
        width, height = own[0] if width is None else width, own[1] if height is None else height
        if height % factor or width % factor or min(height, width) < factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {height}x{width}")
        check_side(max(height, width), name="height or width")
        return width, height

    def _batch(
        self, prompt: str | Sequence[str], negative: str | Sequence[str] | None, per_prompt: int, guidance_scale: float
    ) -> PromptBatch:
        empty = None if self.config.force_zeros_for_empty_prompt else ""
        guided, device = guidance_scale > 1, self._execution_device
        return PromptBatch.of(prompt, negative, per_prompt, guided=guided, empty=empty, device=device)

    def _table(
        self, contexts: ContextTable | None, batch: PromptBatch, truncation: int | Envelope | None
    ) -> ContextTable:
        """The contexts that the caller holds, or new ones.

        Raises:
            ValueError: the caller's lack a prompt, or ``truncation`` is given with them.
        """
        if contexts is None:
            return self.contexts(batch.texts, truncation)
        if truncation is not None:
            raise ValueError("truncation is part of contexts; give it to pipeline.contexts and leave it out here")
        for text in batch.texts:
            if text not in contexts.texts:
                raise ValueError(f"contexts lacks the prompt {text!r}; use pipeline.contexts({list(batch.texts)})")
        return contexts

    def _initial_picture(
        self,
        image: Image.Image | None,
        mask: Image.Image | None,
        size: tuple[int, int],
        count: int,
        generator: Generators,
    ) -> InitialPicture | None:
        if image is None:
            return None
        return InitialPicture(self.vae, image, mask, size, count, generator, self._execution_device)

    def _timesteps(self, steps: int, strength: float | None) -> Tensor:
        """The schedule's timesteps; with ``strength`` its last part alone."""
        self.scheduler.set_timesteps(steps, device=self._execution_device)
        return self.scheduler.timesteps if strength is None else timesteps_for_strength(self.scheduler, steps, strength)

    def _noise(self, latents: Tensor | None, count: int, size: tuple[int, int], generator: Generators) -> Tensor:
        """Initial noise [count, c, h/f, w/f], from ``latents`` or drawn, at the scheduler's scale."""
        width, height = size
        channels, device = self.unet.config.in_channels, self._execution_device
        return self.prepare_latents(count, channels, height, width, self.unet.dtype, device, generator, latents)

    def _denoise(
        self,
        predict: Callable[[Tensor, Tensor, Tensor], Tensor],
        timesteps: Tensor,
        latents: Tensor,
        initial: InitialPicture | None,
        generator: Generators,
        callback: StepCallback | None,
    ) -> Tensor:
        """Latents after all ``timesteps``; ``predict`` takes latents, a timestep and those that follow it."""
        step_arguments = self.prepare_extra_step_kwargs(generator, 0.0)
        with context_attention(self.unet, self.cross_attentions), self.progress_bar(total=len(timesteps)) as bar:
            for i, t in enumerate(timesteps):
                upcoming = timesteps[i + 1 :]
                noise = predict(latents, t, upcoming)
                latents = self.scheduler.step(noise, t, latents, **step_arguments, return_dict=False)[0]
                if initial is not None:
                    latents = initial.restore_outside(latents, self.scheduler, upcoming[0] if len(upcoming) else None)
                if callback is not None:
                    changed = callback(self, i, t, {"latents": latents}) or {}
                    latents = changed.get("latents", latents)
                bar.update()
        return latents

    def _guided(
        self,
        table: ContextTable,
        batch: PromptBatch,
        regions: Regions | None,
        guidance_scale: float,
        latents: Tensor,
        t: Tensor,
        upcoming: Tensor,
    ) -> Tensor:
        """The model's prediction at timestep ``t``, with classifier-free guidance where ``batch`` has negative rows."""
        contexts = table.at(float(t), upcoming.tolist()).rows(batch.rows_in(table.texts))
        doubled = torch.cat([latents, latents]) if batch.guided else latents
        noise = self.predict(self.scheduler.scale_model_input(doubled, t), t, contexts, regions=regions)
        if not batch.guided:
            return noise
        away, towards = noise.chunk(2)
        return away + guidance_scale * (towards - away)

    def predict(
        self,
        sample: Tensor,
        t: Tensor,
        contexts: LayerContexts,
        *,
        regions: Regions | None = None,
        attention_maps: AttentionMaps | None = None,
    ) -> Tensor:
        """The UNet's prediction for ``sample`` [b, c, h, w] at timestep ``t``, within `context_attention`.

        Stable Diffusion XL's size conditions are those of an uncropped picture of the generated size.
        """
        conditions = None
        if contexts.pooled is not None:
            height, width = (side * self.vae_scale_factor for side in sample.shape[-2:])
            sizes = contexts.pooled.new_tensor([height, width, 0, 0, height, width])
            conditions = {"text_embeds": contexts.pooled, "time_ids": sizes.expand(len(sample), -1)}
        return self.unet(
            sample,
            t,
            contexts.keys[0],
            added_cond_kwargs=conditions,
            cross_attention_kwargs={"contexts": contexts, "regions": regions, "attention_maps": attention_maps},
            return_dict=False,
        )[0]

    def _decode(self, latents: Tensor, output_type: str) -> tuple[Any, list[bool] | None]:
        """Pictures of ``output_type`` from latents, and which of them the safety checker, if any, has blacked out.

        Raises:
            NotFiniteError: the model overflowed.
        """
        if output_type == "latent":
            return latents, None
        pictures = decode(self.vae, latents)
        check_finite(pictures, f"the model overflows in {self.unet.dtype}; load it with dtype float32 or bfloat16")
        pictures, flagged = self.run_safety_checker(pictures, self._execution_device, self.unet.dtype)
        shown = [not flag for flag in flagged or [False] * len(pictures)]  # black ones are in 0..1 already
        return self.image_processor.postprocess(pictures, output_type=output_type, do_denormalize=shown), flagged

    def contexts(self, prompts: Sequence[str | None], truncation: int | Envelope | None = None) -> ContextTable:
        """Encode ``prompts`` with the words as they are now; the table is the caller's to keep.

        A call with ``contexts=`` then draws any of these prompts without encoding them again. Make a new table after
        loading or training a word: this one keeps what the words were. With guidance the negative prompt has to be
        among ``prompts``, "" where none is given.

        Args:
            prompts: prompts and negative prompts; None represents a context of zeros, SDXL's absent negative prompt.
            truncation: as when the pipeline is called.

        Raises:
            ValueError: a prompt is too long.
        """
        text = self.text
        words = {token: concept.mapper.to(text.device) for token, concept in self.concepts.items()}
        context_of_layer = self.context_of_layer(words.values())
        layers = self.layers if context_of_layer is None else max(context_of_layer) + 1
        mappers = {token: truncated(mapper, truncation, layers, self.blocks) for token, mapper in words.items()}
        return ContextTable(text, prompts, mappers, layers, context_of_layer)


def _check_options(output_type: str, image: Image.Image | None, mask: Image.Image | None, steps: int) -> None:
    if steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {steps}")
    if output_type not in ("pil", "np", "pt", "latent"):
        raise ValueError(f"output_type must be pil, np, pt or latent, got {output_type!r}")
    if image is None and mask is not None:
        raise ValueError("mask needs the picture that it belongs to; give image= as well")
