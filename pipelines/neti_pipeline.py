"""`NeTIPipeline`: Stable Diffusion that understands words learned by `pipelines.personalize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from mappers.hub import resolve
from mappers.neti import Envelope, Word

from . import concepts
from .attention import LayerContexts, context_attention, cross_attention_order
from .concepts import Concept
from .contexts import ContextTable, tokenize


class NeTIPipeline(StableDiffusionPipeline):
    """Text-to-image with learned words (NeTI, arXiv 2305.15391).

    It has the components of a `StableDiffusionPipeline` and changes none of them: learned words live beside the
    model, so that `unload_concept` leaves it bit for bit as it was. A prompt may hold any loaded word any number
    of times, and none at all.
    """

    @classmethod
    def from_model(
        cls,
        model: str | Path = "nano",
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> NeTIPipeline:
        """Load a Stable Diffusion 1.x model.

        Args:
            model: "nano", a folder, or a hub id.
            device: where to; None takes the accelerator when there is one.
            dtype: precision of the weights; None takes fp32.

        Raises:
            FileNotFoundError: ``model`` names nothing that exists.
        """
        try:
            pipeline = cls.from_pretrained(
                resolve(model),
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
        self.model_id = ""
        self.concepts: dict[str, Concept] = {}
        self.cross_attentions = cross_attention_order(self.unet)
        """Names in execution order, which is how layers are numbered."""
        self.layers = len(self.cross_attentions)
        self._last_contexts: tuple[Any, ContextTable] | None = None

    @property
    def base(self) -> concepts.Fingerprint:
        """Fingerprint of the frozen model."""
        return concepts.fingerprint(self.unet, self.text_encoder, self.layers)

    def fine_layers(self) -> list[int]:
        """The cross-attentions, in execution order, in the finer half of the UNet's resolutions.

        They draw a thing's appearance, the coarser ones its geometry (arXiv 2303.09522, section 4.2).
        """
        coarsest = len(self.unet.config.down_block_types) - 1

        def level(name: str) -> int:
            block, number, *_ = name.split(".")
            if block == "down_blocks":
                return int(number)
            return coarsest - int(number) if block == "up_blocks" else coarsest

        return [i for i, name in enumerate(self.cross_attentions) if 2 * level(name) <= coarsest]

    def load_concept(self, concept: Concept | str | Path, *, token: str | None = None) -> str:
        """Make a learned word usable in prompts and return its token.

        Args:
            concept: a concept or its file.
            token: another name for the word, when its own is taken.

        Raises:
            FileNotFoundError, ValueError: the file is missing, damaged, or of another base model; the token is
                a word of the vocabulary.
        """
        loaded = concept if isinstance(concept, Concept) else concepts.load_concept(Path(concept))
        difference = loaded.base.difference(self.base)
        if difference:
            raise ValueError(
                f"the concept {loaded.token} was learned on another base model "
                f"({loaded.model or 'unknown'}): {difference}; load it with that model"
            )
        token = token or loaded.token
        concepts.check_token(token, self.tokenizer)
        loaded.mapper.to(self.device).eval().requires_grad_(False)
        self.concepts[token] = loaded
        return token

    def concept(self, token: str) -> Concept:
        """A loaded word.

        Raises:
            ValueError: no such word is loaded.
        """
        if token not in self.concepts:
            raise ValueError(f"no concept {token!r} is loaded; loaded are {sorted(self.concepts)}")
        return self.concepts[token]

    def unload_concept(self, token: str) -> None:
        """Forget a word; the model was never changed by it.

        Raises:
            ValueError: no such word is loaded.
        """
        self.concept(token)
        del self.concepts[token]

    def save_concept(self, token: str, path: str | Path) -> Path:
        """Write a loaded word to ``path`` (safetensors); see `pipelines.concepts.save_concept`.

        Raises:
            ValueError: no such word is loaded.
        """
        return concepts.save_concept(self.concept(token), Path(path))

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
            negative_prompt: what to move away from, one or as many as prompts; may hold loaded words too.
            num_inference_steps: denoising steps.
            guidance_scale: weight of classifier-free guidance; 1 and below switch it off.
            num_images_per_prompt: pictures of each prompt.
            truncation: units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`
                of them over timesteps and layers.
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
        guided = guidance_scale > 1
        rows = torch.arange(len(prompts), device=self.device).repeat_interleave(num_images_per_prompt)
        negative = [negative_prompt or ""] if isinstance(negative_prompt, str | None) else list(negative_prompt)
        if guided:  # the rows to move away from come first
            away = rows if len(negative) == len(prompts) else torch.zeros_like(rows)
            rows = torch.cat([len(prompts) + away, rows])
        table = self.contexts(tuple(prompts + negative if guided else prompts), truncation)

        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        timesteps = self.scheduler.timesteps
        latents = self.prepare_latents(
            len(prompts) * num_images_per_prompt,
            self.unet.config.in_channels,
            height,
            width,
            self.unet.dtype,
            self.device,
            generator,
            latents,
        )
        step_arguments = self.prepare_extra_step_kwargs(generator, 0.0)
        with context_attention(self.unet), self.progress_bar(total=len(timesteps)) as bar:
            for i, t in enumerate(timesteps):
                contexts = table.at(float(t), timesteps[i + 1 :].tolist()).rows(rows)
                noise = self._predict(latents, t, contexts, guidance_scale if guided else None)
                latents = self.scheduler.step(noise, t, latents, **step_arguments, return_dict=False)[0]
                if callback_on_step_end is not None:
                    changed = callback_on_step_end(self, i, t, {"latents": latents}) or {}
                    latents = changed.get("latents", latents)
                bar.update()
        images: Any = latents
        if output_type != "latent":
            images = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
            images = self.image_processor.postprocess(images, output_type=output_type)
        return StableDiffusionPipelineOutput(images=images, nsfw_content_detected=None)

    def _predict(self, latents: Tensor, t: Tensor, contexts: LayerContexts, guidance_scale: float | None) -> Tensor:
        """The model's prediction; with guidance the first half of the contexts is what to move away from."""
        if guidance_scale is not None:
            latents = torch.cat([latents, latents])
        sample = self.scheduler.scale_model_input(latents, t)
        noise = self.unet(
            sample, t, contexts.keys[0], cross_attention_kwargs={"contexts": contexts}, return_dict=False
        )[0]
        if guidance_scale is None:
            return noise
        away, towards = noise.chunk(2)
        return away + guidance_scale * (towards - away)

    def contexts(self, prompts: tuple[str, ...], truncation: int | Envelope | None = None) -> ContextTable:
        """The contexts of ``prompts``; those of the last call when nothing that they depend on has changed.

        Raises:
            ValueError: a prompt is too long.
        """
        words = {token: concept.mapper for token, concept in self.concepts.items()}
        state = [(id(p), p._version) for m in (self.text_encoder, *words.values()) for p in m.parameters()]
        key = (prompts, tuple(words), repr(truncation), tuple(state))
        if self._last_contexts is None or self._last_contexts[0] != key:
            mappers = {token: _cut(mapper, truncation) for token, mapper in words.items()}
            tokenized = tokenize(self.tokenizer, prompts, list(words))
            self._last_contexts = key, ContextTable(self.text_encoder, tokenized, mappers, self.layers)
        return self._last_contexts[1]

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


def _cut(mapper: Any, truncation: int | Envelope | None) -> Callable[[Tensor, Tensor], Word]:
    """The mapper as a function of timestep and layer alone."""

    def word(timesteps: Tensor, layers: Tensor) -> Word:
        units = truncation
        if isinstance(truncation, Envelope):
            units = truncation.units(timesteps, layers, mapper.hidden)
        return mapper(timesteps, layers, truncation=units)

    return word
