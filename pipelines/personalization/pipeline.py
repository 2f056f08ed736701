"""`NeTIPipeline`: Stable Diffusion that understands words learned by `pipelines.personalize`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from mappers.hub import resolve
from mappers.neti import Envelope, Word

from .attention import LayerContexts, context_attention, cross_attention_order, layer_levels
from .attention_loss import AttentionMaps
from .concept_loading import ConceptLoaderMixin
from .concepts import Concept
from .contexts import ContextTable
from .inpainting import InitialPicture, timesteps_for_strength
from .regions import Regions, read_regions
from .text_encoding import TextEncoders, check_text_encoders


class NeTIPipeline(ConceptLoaderMixin, StableDiffusionPipeline):
    """Text-to-image with learned words (NeTI, arXiv 2305.15391).

    It has the components of a `StableDiffusionPipeline`, or of a `StableDiffusionXLPipeline` with its second text
    encoder, and changes none of them: learned words live beside the model, so that `unload_concept` leaves it bit for
    bit as it was. A prompt may hold any loaded word any number of times, and none at all.
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
    ) -> NeTIPipeline:
        """Load a model of the family of Stable Diffusion 1, 2 or XL, frozen.

        Args:
            model: "nano", a folder, or a hub id.
            device: where to; None takes the accelerator when there is one.
            dtype: precision of the weights; None takes fp32.

        Raises:
            FileNotFoundError: ``model`` names nothing that exists.
        """
        try:
            pipeline = cls.from_pretrained(
                resolve(model, "text-to-image"),
                dtype=dtype or torch.float32,
                safety_checker=None,
                requires_safety_checker=False,
            )
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise FileNotFoundError(
                f"could not load the model {str(model)!r} ({str(error).splitlines()[0]}); "
                "give a Stable Diffusion folder, or use 'nano' to run without downloads"
            ) from error
        pipeline.model_id = str(model)
        # Torch rounds otherwise where weights might take gradients: a word must draw alike where it was learned.
        for module in (pipeline.unet, *pipeline.text.encoders, pipeline.vae):
            module.requires_grad_(False).eval()
        return pipeline.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

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
        force_zeros_for_empty_prompt: bool = False,
    ):
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
        self._last_contexts: tuple[Any, ContextTable] | None = None

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
        """Not possible: learned words need the weights of the token tables, which would be nowhere between calls.

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
        regions: Mapping[str, Image.Image] | None = None,
        image: Image.Image | None = None,
        mask: Image.Image | None = None,
        strength: float = 0.8,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[[NeTIPipeline, int, Any, dict[str, Tensor]], dict[str, Tensor] | None]
        | None = None,
    ) -> StableDiffusionPipelineOutput:
        """Generate pictures.

        Args:
            prompt: one or several prompts; loaded words stand in them as they are, "a photo of <cat>".
            negative_prompt: what to move away from, one or as many as prompts; may hold loaded words too. None: from
                the empty prompt or, where the model was made for it (SDXL), from none at all.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 and below switch it off.
            num_images_per_prompt: pictures of each prompt.
            truncation: units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`
                of them over timesteps and layers.
            regions: for some words the part of the picture that they act in, in white, as large as what is drawn.
            image: a picture to draw over, instead of noise alone.
            mask: where to draw over it, in white, as large as the picture; None: everywhere.
            strength: how much of the schedule is drawn over it: near 0 hardly anything changes, 1 is the whole.
            generator: randomness of the initial noise and of stochastic schedulers.
            latents: initial noise [b, c, h/f, w/f] instead of drawn noise.
            height, width: pixels, multiples of the autoencoder's factor; None takes the model's own size.
            output_type: "pil", "np", "pt" or "latent".
            callback_on_step_end: called as in diffusers with {"latents": ...}; may return changed ones.

        Raises:
            ValueError: an argument is out of range or a prompt is too long.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        height = height or self.unet.config.sample_size * self.vae_scale_factor
        width = width or self.unet.config.sample_size * self.vae_scale_factor
        self._check(prompts, negative_prompt, num_images_per_prompt, output_type, height, width)
        if image is None and mask is not None:
            raise ValueError("mask needs the picture that it belongs to; give image= as well")
        guided, device = guidance_scale > 1, self._execution_device
        rows = torch.arange(len(prompts), device=device).repeat_interleave(num_images_per_prompt)
        negative: list[str | None]
        if negative_prompt is None:
            negative = [None if self.config.force_zeros_for_empty_prompt else ""]
        else:
            negative = [negative_prompt] if isinstance(negative_prompt, str) else list(negative_prompt)
        if guided:  # the rows to move away from come first
            away = rows if len(negative) == len(prompts) else torch.zeros_like(rows)
            rows = torch.cat([len(prompts) + away, rows])
        shown = prompts + negative if guided else prompts
        where = None
        if regions:
            size, texts = (width, height), [text or "" for text in shown]
            where = read_regions(regions, self.text, texts, list(self.concepts), size, rows)
        table = self.contexts(tuple(shown), truncation)

        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps, count = self.scheduler.timesteps, len(prompts) * num_images_per_prompt
        initial = None
        if image is not None:
            initial = InitialPicture(self.vae, image, mask, (width, height), count, generator, device)
        if initial is None:
            channels = self.unet.config.in_channels
            latents = self.prepare_latents(count, channels, height, width, self.unet.dtype, device, generator, latents)
        else:
            timesteps = timesteps_for_strength(self.scheduler, num_inference_steps, strength)
            latents = initial.start(self.scheduler, timesteps[0], whole=strength == 1)
        step_arguments = self.prepare_extra_step_kwargs(generator, 0.0)
        with context_attention(self.unet, self.cross_attentions), self.progress_bar(total=len(timesteps)) as bar:
            for i, t in enumerate(timesteps):
                contexts = table.at(float(t), timesteps[i + 1 :].tolist()).rows(rows)
                noise = self._predict(latents, t, contexts, guidance_scale if guided else None, where)
                latents = self.scheduler.step(noise, t, latents, **step_arguments, return_dict=False)[0]
                if initial is not None:
                    following = timesteps[i + 1] if i + 1 < len(timesteps) else None
                    latents = initial.restore_outside(latents, self.scheduler, following)
                if callback_on_step_end is not None:
                    changed = callback_on_step_end(self, i, t, {"latents": latents}) or {}
                    latents = changed.get("latents", latents)
                bar.update()
        images: Any = latents
        if output_type != "latent":
            images = self.image_processor.postprocess(self._decode(latents), output_type=output_type)
        self.maybe_free_model_hooks()
        return StableDiffusionPipelineOutput(images=images, nsfw_content_detected=None)

    def _predict(
        self, latents: Tensor, t: Tensor, contexts: LayerContexts, guidance_scale: float | None, regions: Regions | None
    ) -> Tensor:
        """The model's prediction; with guidance the first half of the contexts is what to move away from."""
        if guidance_scale is not None:
            latents = torch.cat([latents, latents])
        noise = self.predict(self.scheduler.scale_model_input(latents, t), t, contexts, regions=regions)
        if guidance_scale is None:
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
        """The UNet's answer to ``sample`` [b, c, h, w] at timestep ``t``, within `context_attention`.

        Stable Diffusion XL is told that the picture has the size that is drawn and was never cropped.
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

    def _decode(self, latents: Tensor) -> Tensor:
        """Pictures [b, 3, h, w]; SDXL's autoencoder overflows in fp16 and says so by ``force_upcast``."""
        dtype = self.vae.dtype
        upcast = dtype == torch.float16 and self.vae.config.force_upcast
        if upcast:
            self.vae.to(torch.float32)
        try:
            return self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor, return_dict=False)[0]
        finally:
            if upcast:
                self.vae.to(dtype)

    def contexts(self, prompts: tuple[str | None, ...], truncation: int | Envelope | None = None) -> ContextTable:
        """The contexts of ``prompts``; those of the last call when nothing that they depend on has changed.

        Raises:
            ValueError: a prompt is too long.
        """
        text = self.text
        words = {token: concept.mapper.to(text.device) for token, concept in self.concepts.items()}
        state = [(id(p), p._version) for m in (*text.encoders, *words.values()) for p in m.parameters()]
        key = (prompts, tuple(words), repr(truncation), tuple(state))
        if self._last_contexts is None or self._last_contexts[0] != key:
            context_of_layer = self.context_of_layer(words.values())
            layers = self.layers if context_of_layer is None else max(context_of_layer) + 1
            mappers = {token: self._cut(mapper, truncation, layers) for token, mapper in words.items()}
            self._last_contexts = key, ContextTable(text, prompts, mappers, layers, context_of_layer)
        return self._last_contexts[1]

    def _cut(self, mapper: Any, truncation: int | Envelope | None, layers: int) -> Callable[[Tensor, Tensor], Word]:
        """The mapper as a function of timestep and layer alone; among words for layers, one for blocks knows theirs."""

        def word(timesteps: Tensor, layer: Tensor) -> Word:
            if mapper.layers < layers:
                layer = torch.tensor(self.blocks, device=layer.device)[layer]
            units = truncation
            if isinstance(truncation, Envelope):
                units = truncation.units(timesteps, layer, mapper.hidden)
            return mapper(timesteps, layer, truncation=units)

        return word

    def _check(
        self,
        prompts: list[str],
        negative: str | Sequence[str] | None,
        count: int,
        output_type: str,
        height: int,
        width: int,
    ) -> None:
        if not prompts:
            raise ValueError("prompt is empty; give at least one prompt")
        if negative is not None and not isinstance(negative, str) and len(negative) not in (1, len(prompts)):
            raise ValueError(
                f"negative_prompt has {len(negative)} entries for {len(prompts)} prompts; give one or as many"
            )
        if count < 1:
            raise ValueError(f"num_images_per_prompt must be at least 1, got {count}")
        if output_type not in ("pil", "np", "pt", "latent"):
            raise ValueError(f"output_type must be pil, np, pt or latent, got {output_type!r}")
        factor = self.vae_scale_factor * 2 ** (len(self.unet.config.down_block_types) - 1)
        if height % factor or width % factor or min(height, width) < factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {height}x{width}")
