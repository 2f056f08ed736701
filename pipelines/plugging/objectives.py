"""What diffusion transformers learn by: how latents become noisy, and what is predicted from them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers import FluxPipeline
from jaxtyping import Float, Int
from torch import Tensor, nn

from .conventions import CONVENTIONS
from .hooks import unwrapped

LEVELS = 1000
"""Noise levels of a training."""


@dataclass(frozen=True)
class Objective:
    """How one class of pipeline is trained.

    A flow's noisy latents are (1 - s) x + s n at the share s of noise, and its transformer predicts n - x. The others
    predict the noise n in the noisy latents of their scheduler.
    """

    network: str
    """Class of the pipeline's transformer."""
    predicts: Literal["flow", "reversed flow", "noise"]
    """reversed flow: x - n."""
    layout: Literal["picture", "cells", "list"] = "picture"
    """How the transformer takes latents: as pictures, as rows of cells of 2 x 2, or as a list of films of one frame."""
    sample: str = "hidden_states"
    """Argument of the transformer that holds them."""
    call: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the pipeline's call with which its conditions are those of training."""

    def noisy(
        self, pipe: Any, latents: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], level: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Noisy latents, and what the transformer should predict.

        Args:
            pipe: the pipeline.
            latents, noise: what is mixed.
            level: noise levels in 0..999.
        """
        if self.predicts == "noise":
            alpha = pipe.scheduler.alphas_cumprod.to(latents)[level].view(-1, 1, 1, 1)
            return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, noise
        share = ((level + 1) / LEVELS).to(latents).view(-1, 1, 1, 1)
        direction = noise - latents if self.predicts == "flow" else latents - noise
        return (1 - share) * latents + share * noise, direction

    def packed(self, latents: Float[Tensor, "b c h w"]) -> Any:
        """Latents as the transformer takes them."""
        if self.layout == "cells":
            return FluxPipeline._pack_latents(latents, *latents.shape)
        return list(latents[:, :, None].unbind(0)) if self.layout == "list" else latents

    def predicted(self, answer: Any, channels: int) -> Tensor:
        """The transformer's answer in the shape of `compared`; PixArt predicts variances too, which are left out."""
        if self.layout == "list":
            return torch.stack(list(answer))[:, :, 0]
        return answer if self.layout == "cells" else answer[:, :channels]

    def compared(self, values: Float[Tensor, "b c h w"]) -> Tensor:
        """Latents, or weights of them, in the shape in which predictions come."""
        return self.packed(values) if self.layout == "cells" else values


EXACT_SIZE = {"use_resolution_binning": False, "clean_caption": False}
OBJECTIVES = {
    "StableDiffusion3Pipeline": Objective("SD3Transformer2DModel", "flow"),
    "FluxPipeline": Objective("FluxTransformer2DModel", "flow", "cells"),
    "ZImagePipeline": Objective("ZImageTransformer2DModel", "reversed flow", "list", "x"),
    "PixArtAlphaPipeline": Objective("PixArtTransformer2DModel", "noise", call=EXACT_SIZE),
    "PixArtSigmaPipeline": Objective("PixArtTransformer2DModel", "noise", call=EXACT_SIZE),
}
"""By the name of the pipeline's class."""


class _Reached(Exception):
    """The transformer is called with this."""


class Conditions:
    """What a pipeline calls its transformer with for some prompts, but for latents and noise level.

    Args:
        pipe: a pipeline of a class in `OBJECTIVES`, with words plugged in or not.
        prompts: n prompts, which are encoded once.
        size: width and height in pixels.
    """

    def __init__(self, pipe: Any, prompts: list[str], size: tuple[int, int]):
        self.pipe, self.count = pipe, len(prompts)
        self.objective = OBJECTIVES[type(pipe).__name__]
        self.net: nn.Module = unwrapped(pipe.transformer)
        self.convention = CONVENTIONS[type(self.net).__name__]
        self.given = self._reached(prompts, size)

    def _reached(self, prompts: list[str], size: tuple[int, int]) -> dict[str, Any]:
        def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _Reached(args, kwargs)

        bar = getattr(self.pipe, "_progress_bar_config", {})
        self.pipe.set_progress_bar_config(disable=True)
        handle = self.pipe.transformer.register_forward_pre_hook(stop, with_kwargs=True)
        call: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent"}
        call |= {"width": size[0], "height": size[1], "generator": torch.Generator().manual_seed(0)}
        try:
            self.pipe(prompt=[*prompts], **call, **self.objective.call)
        except _Reached as reached:
            args, kwargs = reached.args
            names = list(inspect.signature(type(self.net).forward).parameters)[1:]
            return dict(zip(names, args, strict=False)) | kwargs
        finally:
            handle.remove()
            self.pipe.set_progress_bar_config(**bar)
        raise RuntimeError(f"{type(self.pipe).__name__} did not call its transformer")

    def predict(self, noisy: Float[Tensor, "b c h w"], level: Int[Tensor, " b"], prompts: Int[Tensor, " b"]) -> Tensor:
        """What the transformer predicts.

        Args:
            noisy: latents.
            level: noise levels in 0..999.
            prompts: the number of each row's prompt.

        Returns:
            The prediction, in the shape of `Objective.compared`.
        """
        dtype = next(self.net.parameters()).dtype
        time = level if self.objective.predicts == "noise" else level + 1
        given = {name: self._rows(value, prompts) for name, value in self.given.items()}
        given[self.objective.sample] = self.objective.packed(noisy.to(dtype))
        given[self.convention.timestep] = self.convention.called_with(time, dtype)
        answer = self.pipe.transformer(**given | {"return_dict": False})[0]
        return self.objective.predicted(answer, noisy.shape[1])

    def _rows(self, value: Any, prompts: Int[Tensor, " b"]) -> Any:
        """Of each prompt's own values those of the rows' prompts."""
        if isinstance(value, Mapping):
            return {name: self._rows(one, prompts) for name, one in value.items()}
        if isinstance(value, list) and len(value) == self.count:
            return [value[i] for i in prompts.tolist()]
        # Coordinates of FLUX, [s, 3], belong to no prompt.
        own = isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.count and value.shape[-1:] != (3,)
        return value[prompts.to(value.device)] if own else value
