"""Learning through the sockets: contexts with gradients go to the sites of a UNet as an argument of its call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from . import sites
from .denoiser import KWARGS, Denoiser
from .hooks import OWN, unwrapped
from .sites import ARGUMENT, Feed, Given

if TYPE_CHECKING:
    from ..personalization.attention import LayerContexts
    from ..personalization.attention_loss import AttentionMaps


class _Learner:
    """Holds the hooks on a network while it is called with explicit contexts; it has no prompts of its own."""

    records: tuple[()] = ()
    pixels = 1

    def following(self, timestep: float) -> list[float]:
        return []


@contextmanager
def fed_by_argument(unet: UNet2DConditionModel) -> Iterator[list[str]]:
    """Within the block ``unet`` can be called by `predict`, also for gradients; yields its cross-attentions' names.

    A block within a block changes nothing. Afterwards the UNet is what it was.
    """
    order = sites.cross_attentions(unwrapped(unet))
    denoiser, learner = Denoiser.of(unet, {name: i for i, name in enumerate(order)}), _Learner()
    denoiser.join(learner)
    denoiser.attach(unet)
    watches = [sites.Watch(unwrapped(unet).get_submodule(name)) for name in order]
    try:
        yield order
    finally:
        for watch in watches:
            watch.remove()
        denoiser.leave(learner)


def predict(
    unet: UNet2DConditionModel,
    sample: Tensor,
    t: Tensor | float,
    contexts: LayerContexts,
    *,
    pixels: int,
    maps: AttentionMaps | None = None,
) -> Tensor:
    """The UNet's prediction for ``sample`` [b, c, h, w] at timesteps ``t``, within `fed_by_argument`.

    Stable Diffusion XL's size conditions are those of an uncropped picture of the generated size.

    Args:
        unet: the frozen model.
        sample: noisy latents.
        t: a timestep, or one for each row.
        contexts: what each layer attends to; gradients flow back to them.
        pixels: of the picture along a side of one latent.
        maps: takes note of where the layers attend to.

    Raises:
        RuntimeError: it is called outside `fed_by_argument`.
    """
    denoiser = unwrapped(unet).__dict__.get(OWN)
    if denoiser is None:
        raise RuntimeError("the UNet has no hooks for contexts; call predict within fed_by_argument(unet)")
    conditions: dict[str, Any] | None = None
    if contexts.pooled is not None:
        height, width = (side * pixels for side in sample.shape[-2:])
        sizes = contexts.pooled.new_tensor([height, width, 0, 0, height, width])
        conditions = {"text_embeds": contexts.pooled, "time_ids": sizes.expand(len(sample), -1)}
    feeds = {}
    for layer in denoiser.layers.values():
        read = contexts.read_by(layer)
        feeds[layer] = Feed(None, contexts.keys[read]), Feed(None, contexts.values[read])
    arguments = {KWARGS: {ARGUMENT: Given(feeds, maps)}}
    return unet(sample, t, contexts.keys[0], added_cond_kwargs=conditions, return_dict=False, **arguments)[0]
