"""Words in diffusion transformers: places, rows that move and rows that do not, for every class that is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    FluxControlNetModel,
    FluxControlNetPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    TextKVCacheConfig,
)
from torch._dynamo.testing import CompileCounter

from mappers.neti import Envelope, SiteMapper
from pipelines.personalization.concepts import Concept, load_concept, save_concept
from pipelines.plugging.bypass_socket import BypassSocket
from pipelines.plugging.conventions import CONVENTIONS
from pipelines.plugging.fingerprint import site_fingerprint
from pipelines.plugging.sites import FEED
from pipelines.plugging.transformer_hooks import TransformerHooks

from .conftest import learned as learned_exactly
from .conftest import picture, quiet
from .test_conventions import CALLS, GUIDED, PIPELINES, built, enlivened, stable_diffusion_3
from .test_conventions import flux as flux_1
from .test_socket import check_same, everything

WITH_WORD, PLAIN = "a photo of a <cat> on the beach", "a photo of a toy on the beach"


@pytest.fixture(scope="module", params=PIPELINES)
def pipe(request: pytest.FixtureRequest) -> Any:
    return built(request.param)


@pytest.fixture(scope="module")
def sd3() -> Any:
    return built("SD3Transformer2DModel")


@pytest.fixture(scope="module")
def flux() -> Any:
    return built("FluxTransformer2DModel")


def learned(pipe: Any, token: str = "<cat>", seed: int = 3, strength: float = 0.5) -> Concept:
    """A random word."""
    net = pipe.transformer
    base = site_fingerprint(net, CONVENTIONS[type(net).__name__].sites(net))
    mapper = SiteMapper(base.layers, base.width, strength=strength, hidden=16, encoding_size=64, seed=seed)
    return Concept(token, "toy", mapper.eval().requires_grad_(False), base, "tiny")


def drawn(pipe: Any, prompts: list[str], **options: Any) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    call = {"num_inference_steps": 2, "output_type": "latent", "height": 32, "width": 32}
    call |= CALLS[type(pipe.transformer).__name__] | options
    torch.manual_seed(0)  # ControlNets sample the latents of their picture without the generator.
    made = pipe(prompt=[*prompts], generator=generators, **call)
    return made.frames if hasattr(made, "frames") else made.images


def moved(one: torch.Tensor, other: torch.Tensor) -> bool:
    """By more than ten times what rounding does."""
    return bool((one - other).abs().max() > 10 * torch.finfo(one.dtype).eps * one.abs().max())


def test_a_word_moves_its_own_row_alone(pipe: Any) -> None:
    """Other prompts of a batch are drawn bit for bit as without it, also the carrier's text; unplugged, all are."""
    plain = drawn(pipe, [PLAIN, PLAIN])
    before = everything(pipe)
    socket = learned(pipe).plug(pipe)
    made = drawn(pipe, [WITH_WORD, PLAIN])
    socket.words["<cat>"].scale = 0.0
    still = drawn(pipe, [WITH_WORD, PLAIN])
    assert moved(made[0], still[0])
    assert torch.equal(made[1], plain[1])
    assert torch.equal(still[1], plain[1])
    assert torch.equal(drawn(pipe, [PLAIN, PLAIN]), plain)
    socket.unplug()
    with learned(pipe, seed=9).plug(pipe):
        assert moved(drawn(pipe, [WITH_WORD, PLAIN])[0], made[0])
    check_same(before, everything(pipe))
    assert torch.equal(drawn(pipe, [PLAIN, PLAIN]), plain)


def test_a_word_in_one_of_two_negative_prompts(pipe: Any) -> None:
    options = GUIDED[type(pipe.transformer).__name__]
    if options is None:
        pytest.skip("the pipeline has no negative prompts")
    prompts = ["a red cat", "a red cat"]
    plain = drawn(pipe, prompts, negative_prompt=["a blue toy", "snow"], **options)
    with learned(pipe).plug(pipe):
        made = drawn(pipe, prompts, negative_prompt=["a blue <cat>", "snow"], **options)
    assert moved(made[0], plain[0])
    assert torch.equal(made[1], plain[1])


def test_places_and_noise_levels(pipe: Any) -> None:
    """Each place of a word in the rows that the transformer reads, which templates and padding shift."""
    fed: list[Any] = []
    with learned(pipe).plug(pipe) as socket:
        assert isinstance(socket, BypassSocket)
        hooks = socket.denoisers[0]
        _, site = next(iter(hooks._projections()))
        handle = pipe.transformer.register_forward_hook(lambda *_: fed.append(site.__dict__[FEED]))
        drawn(pipe, [WITH_WORD, "<cat> and a <CAT>"])
        handle.remove()
        once, twice = (places.at.tolist() for places in socket.records[:2])
        assert len(twice) == 2 * len(once)
        assert once[0] == twice[0] + 4
        assert twice[1] == twice[0] + 3
        levels = [moves.directions[1] for moves in fed if moves is not None]
        word = socket.words["<cat>"]
        for time in pipe.scheduler.timesteps:
            want = socket.directions(word, time.double())[0]
            assert any(torch.allclose(level, want, atol=1e-4) for level in levels)
        assert not torch.allclose(levels[0], levels[-1], atol=1e-3)


def test_a_concept_file_says_that_it_is_a_bypass(sd3: Any, tmp_path: Path) -> None:
    concept = learned(sd3)
    loaded = load_concept(save_concept(concept, tmp_path / "concept.safetensors"))
    assert (loaded.base.mode, loaded.base.network) == ("bypass", "SD3Transformer2DModel")
    assert (loaded.base.layers, loaded.base.width) == (3, 16)
    pictures = []
    for one in (concept, loaded):
        with one.plug(sd3):
            pictures.append(drawn(sd3, [WITH_WORD]))
    assert torch.equal(*pictures)


def test_several_words_have_their_own_places(sd3: Any) -> None:
    first, second = learned(sd3), learned(sd3, "<dog>", seed=9)
    socket = first.plug(sd3)
    assert second.plug(sd3) is socket
    both = drawn(sd3, ["a <cat> on a <dog>", "a <dog>", "a <cat>", "a toy"])
    socket.unplug("<cat>")
    alone = drawn(sd3, ["a <cat> on a <dog>", "a <dog>", "a red toy", "a toy"])
    socket.unplug()
    assert moved(both[0], alone[0])
    torch.testing.assert_close(both[1], alone[1])
    torch.testing.assert_close(both[3], alone[3])
    with learned(sd3).plug(sd3):
        torch.testing.assert_close(drawn(sd3, ["a toy", "a toy", "a <cat>"])[2], both[2])


def test_embeddings_may_be_handed_over_later(sd3: Any) -> None:
    with learned(sd3).plug(sd3):
        want = drawn(sd3, [WITH_WORD])
        made = sd3.encode_prompt(WITH_WORD, None, None, max_sequence_length=16)
        drawn(sd3, ["a red <cat>"])
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        call = {**CALLS["SD3Transformer2DModel"], **dict(zip(names, made, strict=True))}
        generator = torch.Generator().manual_seed(0)
        again = sd3(num_inference_steps=2, output_type="latent", height=32, width=32, generator=generator, **call)
        assert torch.equal(again.images, want)


def controlled_sd3(pipe: Any) -> Any:
    net = SD3ControlNetModel.from_transformer(pipe.transformer, num_layers=2, num_extra_conditioning_channels=0)
    return quiet(StableDiffusion3ControlNetPipeline(**pipe.components, controlnet=enlivened(net)))


def controlled_flux(pipe: Any) -> Any:
    net = FluxControlNetModel.from_transformer(
        pipe.transformer, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2
    )
    return quiet(FluxControlNetPipeline(**pipe.components, controlnet=enlivened(net)))


CONTROLNETS = {
    "SD3ControlNetModel": ("SD3Transformer2DModel", controlled_sd3),
    "FluxControlNetModel": ("FluxTransformer2DModel", controlled_flux),
}
"""By the class of the ControlNet: that of its transformer, and how a pipeline with both is made."""


@pytest.mark.parametrize("kind", CONTROLNETS)
def test_controlnets_read_the_word_too(kind: str) -> None:
    """With the transformer's own sites silent it still moves its row, and no other."""
    transformer, controlled = CONTROLNETS[kind]
    pipe = controlled(built(transformer))
    assert type(pipe.controlnet).__name__ == kind
    options = {"control_image": [picture()] * 2}
    plain = drawn(pipe, [PLAIN, PLAIN], **options)
    before = everything(pipe)
    with learned(pipe).plug(pipe) as socket:
        hooks = TransformerHooks.of(pipe.transformer, {})
        hooks.sites, sites = [], hooks.sites
        made = drawn(pipe, [WITH_WORD, PLAIN], **options)
        hooks.sites = sites
        socket.words["<cat>"].scale = 0.0
        still = drawn(pipe, [WITH_WORD, PLAIN], **options)
    assert moved(made[0], still[0])
    assert torch.equal(made[1], plain[1])
    check_same(before, everything(pipe))


@pytest.mark.parametrize("build", [partial(stable_diffusion_3, dual=()), flux_1], ids=["sd3", "flux"])
def test_fused_projections(build: Callable[[], Any]) -> None:
    pipe = quiet(build())
    with learned(pipe).plug(pipe):
        want = drawn(pipe, [WITH_WORD, PLAIN])
        pipe.transformer.fuse_qkv_projections()
        torch.testing.assert_close(drawn(pipe, [WITH_WORD, PLAIN]), want, atol=1e-4, rtol=1e-4)
    plain = drawn(pipe, [PLAIN, PLAIN])
    with learned(pipe).plug(pipe):
        made = drawn(pipe, [WITH_WORD, PLAIN])
    assert moved(made[0], plain[0])
    assert torch.equal(made[1], plain[1])


def test_what_does_not_fit_is_refused(sd3: Any, flux: Any, stock: Any) -> None:
    concept = learned(sd3)
    with pytest.raises(
        ValueError,
        match=r"base model \(tiny\): SD3Transformer2DModel with 3 sites that are 16 wide, the loaded model has "
        "FluxTransformer2DModel with 4 sites that are 16 wide",
    ):
        concept.plug(flux)
    with pytest.raises(ValueError, match="3 sites that are 16 wide, the loaded model has 16 cross-attention layers"):
        concept.plug(stock)
    with pytest.raises(ValueError, match="16-wide text embeddings, the loaded model has SD3Transformer2DModel with 3"):
        learned_exactly(stock).plug(sd3)
    with pytest.raises(ValueError, match="other weights than the loaded model"):
        concept.plug(built("SD3Transformer2DModel", seed=1))
    silent = type(sd3)(
        **{n: None if n.startswith("text_encoder") else part for n, part in sd3.components.items()}
    )  # fmt: skip
    with pytest.raises(ValueError, match="StableDiffusion3Pipeline has no text encoder, so it reads no prompts"):
        concept.plug(silent)
    with (
        concept.plug(sd3, region=picture()),
        pytest.raises(ValueError, match="word <cat> has a region, and StableDiffusion3Pipeline has a transformer"),
    ):
        drawn(sd3, ["a <cat>"])
    with concept.plug(sd3):
        with pytest.raises(ValueError, match="a word <cat> is plugged into this pipeline already"):
            concept.plug(sd3)
        with pytest.raises(ValueError, match="word <cat> stands where StableDiffusion3Pipeline reads no more tokens"):
            drawn(sd3, ["on the beach " * 10 + "<cat>"])


def test_a_cache_of_texts_is_refused(flux: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flux.transformer, "_cache_config", TextKVCacheConfig())
    with (
        learned(flux).plug(flux),
        pytest.raises(ValueError, match=r"keeps keys and values of texts from its first step on; .* disable_cache\(\)"),
    ):
        drawn(flux, ["a <cat>"])


def test_scale_and_truncation_are_settings_of_a_word(sd3: Any) -> None:
    """Truncation acts as in the mapper; scale multiplies the direction."""
    time, concept = torch.tensor(500.0), learned(sd3)
    with concept.plug(sd3, truncation=4, scale=0.5) as socket:
        assert isinstance(socket, BypassSocket)
        word = socket.words["<cat>"]
        want = concept.mapper(time.expand(3), torch.arange(3), truncation=4).embedding
        torch.testing.assert_close(socket.directions(word, time), 0.5 * want)
        word.truncation = Envelope(times={0: 16, 999: 0}, layers={0: 0.0})
        units = word.truncation.units(time.expand(3), torch.arange(3), 16)
        want = concept.mapper(time.expand(3), torch.arange(3), truncation=units).embedding
        torch.testing.assert_close(socket.directions(word, time), 0.5 * want)
        halved = drawn(sd3, [WITH_WORD])
        word.truncation, word.scale = None, 1.0
        assert moved(drawn(sd3, [WITH_WORD]), halved)


@pytest.mark.parametrize(("way", "kind"), [("whole", "SD3Transformer2DModel"), ("blocks", "FluxTransformer2DModel")])
def test_a_compiled_transformer_needs_no_graph_for_another_prompt(way: str, kind: str) -> None:
    """Nor for other noise levels or a prompt without a word; the graphs are whole, and draw the same."""
    pipe = built(kind)
    prompts = [WITH_WORD, "<cat> and a <cat>"]
    torch.compiler.reset()
    with learned(pipe).plug(pipe):
        want = [drawn(pipe, [prompt]) for prompt in (*prompts, PLAIN)]
        graphs = CompileCounter()
        if way == "whole":
            pipe.transformer.compile(backend=graphs, fullgraph=True)
        else:
            pipe.transformer.compile_repeated_blocks(backend=graphs, fullgraph=True)
        got = [drawn(pipe, [prompts[0]])]
        made = graphs.frame_count
        assert made > 0
        got += [drawn(pipe, [prompt]) for prompt in (prompts[1], PLAIN)]
        drawn(pipe, [WITH_WORD], num_inference_steps=3)
        assert graphs.frame_count == made
    torch.compiler.reset()
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
