"""Contexts as an argument reach the layer they are meant for, in execution order, with or without checkpointing."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from pipelines.personalization.attention import LayerContexts
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.plugging import sites
from pipelines.plugging.learning import fed_by_argument, predict

from .conftest import latents, learned


def run(unet: UNet2DConditionModel, contexts: LayerContexts, t: int = 500) -> Tensor:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return predict(unet, x, t, contexts, pixels=4)


def random_contexts(layers: int, *, requires_grad: bool = False, seed: int = 1) -> LayerContexts:
    generator = torch.Generator().manual_seed(seed)
    keys, values = (torch.randn(layers, 2, 5, 16, generator=generator) for _ in range(2))
    return LayerContexts(keys.requires_grad_(requires_grad), values.requires_grad_(requires_grad))


def recorded_order(unet: UNet2DConditionModel, **conditions: Any) -> list[str]:
    """Cross-attentions as a forward pass runs them."""
    order: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _m, _a, name=name: order.append(name))
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    ]
    with torch.no_grad():
        unet(torch.zeros(1, 4, 8, 8), 0, torch.zeros(1, 1, unet.config.cross_attention_dim), **conditions)
    for hook in hooks:
        hook.remove()
    return order


def test_layers_are_numbered_as_they_are_run(pipeline: NeTIPipeline, sdxl: NeTIPipeline) -> None:
    """Modules are registered down, up, middle: their enumeration would number ten of sixteen layers wrongly."""
    order = sites.cross_attentions(pipeline.unet)
    assert [name.split("_")[0] for name in order] == ["down"] * 6 + ["mid"] + ["up"] * 9
    assert order == recorded_order(pipeline.unet)
    added = {"text_embeds": torch.zeros(1, 12), "time_ids": torch.zeros(1, 6)}
    assert sites.cross_attentions(sdxl.unet) == recorded_order(sdxl.unet, added_cond_kwargs=added)


def test_equal_contexts_equal_the_plain_model(pipeline: NeTIPipeline) -> None:
    unet = pipeline.unet
    context = torch.randn(2, 5, 16)
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        plain = unet(x, 500, context).sample
        with fed_by_argument(unet) as order:
            keys = context.expand(len(order), -1, -1, -1)
            assert torch.equal(predict(unet, x, 500, LayerContexts(keys, keys), pixels=4), plain)
        assert torch.equal(unet(x, 500, context).sample, plain)


def test_each_layer_reads_its_own_context(pipeline: NeTIPipeline) -> None:
    """Changing layer l's context changes what layer l receives and nothing that ran before it."""
    unet = pipeline.unet
    contexts = random_contexts(16)
    with fed_by_argument(unet) as order, torch.no_grad():
        outputs: dict[int, list[Tensor]] = {}
        hooks = [
            unet.get_submodule(name).register_forward_hook(
                lambda _m, _a, out, i=i: outputs.setdefault(i, []).append(out)
            )
            for i, name in enumerate(order)
        ]
        run(unet, contexts)
        for layer in (0, 6, 7, 15):
            changed = contexts.values.clone()
            changed[layer] += 1
            for kept in outputs.values():
                del kept[1:]
            run(unet, LayerContexts(contexts.keys, changed))
            for i in range(16):
                same = torch.equal(outputs[i][0], outputs[i][1])
                assert same if i < layer else i > layer or not same
        for hook in hooks:
            hook.remove()


def test_gradient_checkpointing_changes_no_gradient(pipeline: NeTIPipeline) -> None:
    """Not even where a second call comes before the backward pass of the first."""
    unet = pipeline.unet.requires_grad_(False).train()
    gradients = []
    with fed_by_argument(unet):
        for checkpointing in (False, True):
            if checkpointing:
                unet.enable_gradient_checkpointing()
            first, second = (random_contexts(16, requires_grad=True, seed=seed) for seed in (1, 2))
            outputs = run(unet, first), run(unet, second, 20)
            sum(output.square().mean() for output in outputs).backward()
            gradients.append([part.grad for contexts in (first, second) for part in contexts[:2]])
    for a, b in zip(*gradients, strict=True):
        assert a is not None
        assert a.any()
        assert torch.equal(a, b)


def test_a_plugged_unet_is_trained_exactly_under_checkpointing(stock: Any) -> None:
    """A LoRA, say: two prompts with the word, two calls before the backward pass."""
    with learned(stock).plug(stock) as socket:
        made = [socket.encode(prompt)["prompt_embeds"] for prompt in ("a <cat>", "a <cat> in the snow")]
        weight = stock.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2.to_k").weight
        weight.requires_grad_(True)
        stock.unet.train()
        gradients = []
        for checkpointing in (False, True):
            if checkpointing:
                stock.unet.enable_gradient_checkpointing()
            x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
            sum(stock.unet(x, t, row).sample.square().mean() for t, row in zip((900, 20), made, strict=True)).backward()
            gradients.append(weight.grad.clone())
            weight.grad = None
    assert gradients[0].any()
    assert torch.equal(*gradients)


def test_learning_goes_on_beside_plugged_words(stock: Any, pipeline: NeTIPipeline) -> None:
    """The argument wins within a call, and hooks of plugged words stay when the block ends."""
    contexts = random_contexts(16)
    with fed_by_argument(pipeline.unet), torch.no_grad():
        want = run(pipeline.unet, contexts)
    with learned(stock).plug(stock):
        drawn = latents(stock, "a <cat>")
        with fed_by_argument(stock.unet), torch.no_grad():
            assert torch.equal(run(stock.unet, contexts), want)
        assert torch.equal(latents(stock, "a <cat>"), drawn)
    hooks = [m for m in stock.unet.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert not hooks
    assert not [key for m in stock.unet.modules() for key in m.__dict__ if "mapfield" in key]
