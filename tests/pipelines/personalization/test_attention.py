"""Contexts reach the layer they are meant for, in execution order, with or without checkpointing."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pipelines.personalization.attention import LayerContexts, context_attention, cross_attention_order
from pipelines.personalization.pipeline import NeTIPipeline


def run(unet: UNet2DConditionModel, contexts: LayerContexts) -> Tensor:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return unet(x, 500, contexts.keys[0], cross_attention_kwargs={"contexts": contexts}).sample


def random_contexts(layers: int, *, requires_grad: bool = False) -> LayerContexts:
    generator = torch.Generator().manual_seed(1)
    keys, values = (torch.randn(layers, 2, 5, 16, generator=generator) for _ in range(2))
    return LayerContexts(keys.requires_grad_(requires_grad), values.requires_grad_(requires_grad))


def test_order_is_down_middle_up(pipeline: NeTIPipeline) -> None:
    order = cross_attention_order(pipeline.unet)
    kinds = [name.split("_")[0] for name in order]
    assert kinds == ["down"] * 6 + ["mid"] + ["up"] * 9
    registered = [name.removesuffix(".processor") for name in pipeline.unet.attn_processors if "attn2" in name]
    assert sorted(registered) == sorted(order)
    assert registered != order


def test_equal_contexts_equal_the_plain_model(pipeline: NeTIPipeline) -> None:
    unet = pipeline.unet
    context = torch.randn(2, 5, 16)
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        plain = unet(x, 500, context).sample
        with context_attention(unet) as order:
            keys = context.expand(len(order), -1, -1, -1)
            ours = unet(x, 500, context, cross_attention_kwargs={"contexts": LayerContexts(keys, keys)}).sample
        again = unet(x, 500, context).sample
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(plain, again)


def test_each_layer_reads_its_own_context(pipeline: NeTIPipeline) -> None:
    """Changing layer l's context changes what layer l receives and nothing that ran before it."""
    unet = pipeline.unet
    contexts = random_contexts(16)
    with context_attention(unet) as order, torch.no_grad():
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


def test_a_block_within_a_block_changes_nothing(pipeline: NeTIPipeline) -> None:
    before = dict(pipeline.unet.attn_processors)
    with context_attention(pipeline.unet) as order:
        with context_attention(pipeline.unet) as inner:
            assert inner == order
        run(pipeline.unet, random_contexts(16))
    assert dict(pipeline.unet.attn_processors) == before


def test_gradient_checkpointing_changes_no_gradient(pipeline: NeTIPipeline) -> None:
    unet = pipeline.unet.requires_grad_(False).train()
    gradients = []
    with context_attention(unet):
        for checkpointing in (False, True):
            if checkpointing:
                unet.enable_gradient_checkpointing()
            contexts = random_contexts(16, requires_grad=True)
            run(unet, contexts).square().mean().backward()
            gradients.append((contexts.keys.grad, contexts.values.grad))
    for a, b in zip(*gradients, strict=True):
        assert a is not None
        assert b is not None
        assert a.any()
        torch.testing.assert_close(a, b)


def test_processors_are_put_back(pipeline: NeTIPipeline) -> None:
    before = pipeline.unet.attn_processors
    with context_attention(pipeline.unet):
        assert pipeline.unet.attn_processors != before
    assert pipeline.unet.attn_processors == before
