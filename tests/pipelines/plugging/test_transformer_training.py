"""Words are learned on diffusion transformers: losses fall, gradients are exact, files can be plugged in again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers import transformer_flux
from PIL import Image

import pipelines
from mappers.neti import SiteMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines.personalization.concepts import Concept, load_concept
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Source
from pipelines.plugging.bypass_socket import BypassSocket
from pipelines.plugging.objectives import Conditions
from pipelines.plugging.plugging import plug
from pipelines.plugging.transformer_task import Learned, TransformerTask

from .test_conventions import built
from .test_transformer_hooks import drawn, moved

KINDS = ["SD3Transformer2DModel", "FluxTransformer2DModel", "PixArtTransformer2DModel", "ZImageTransformer2DModel"]
CONFIG = PersonalizeConfig(resolution=32, train=TrainConfig(steps=3, batch_size=2, learning_rate=1e-2, cpu=True))


def pictures(count: int = 2) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


def task_of(pipe: Any) -> TransformerTask:
    """A word that is plugged in while it is learned."""
    base = BypassSocket(pipe).base
    word = Learned(SiteMapper(base.layers, base.width, strength=0.5, hidden=8, encoding_size=16, dropout=0.0))
    plug(pipe, Concept("<cat>", "toy", word, base))
    conditions = Conditions(pipe, ["a <cat>", "a photo of a <cat>"], (32, 32))
    source = Source("<cat>", "toy", pictures(), None)
    return TransformerTask(conditions, word, source.subject(word.mapper, (32, 32)), CONFIG)


@pytest.fixture(scope="module", params=KINDS)
def task(request: pytest.FixtureRequest) -> TransformerTask:
    return task_of(built(request.param))


def loss_of(task: TransformerTask, step: int = 0) -> torch.Tensor:
    draws = Draws(0, step, range(4))
    return task.loss(task.modules, task.batch(draws), draws)["loss"]  # pyright: ignore[reportArgumentType]


def gradient(task: TransformerTask, steps: range) -> torch.Tensor:
    task.word.mapper.zero_grad()
    sum(loss_of(task, step) for step in steps).backward()  # pyright: ignore
    return torch.cat([w.grad.flatten() for w in task.word.mapper.parameters() if w.grad is not None])


def test_gradient_checkpointing_changes_no_gradient(task: TransformerTask) -> None:
    """Two calls before the backward pass: blocks that run again read what belongs to their own call."""
    net = task.conditions.net
    want = gradient(task, range(2))
    assert want.abs().max() > 0
    net.train()
    net.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]
    got = gradient(task, range(2))
    net.disable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]
    net.eval()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-8)
    assert all(weight.grad is None for weight in net.parameters())


def test_the_loss_falls(task: TransformerTask) -> None:
    optimizer = torch.optim.AdamW(task.word.mapper.parameters(), lr=2e-3)
    before = float(loss_of(task).detach())
    for _ in range(25):
        optimizer.zero_grad()
        loss_of(task).backward()
        optimizer.step()
    # Of random transformers the text is a small part; ten times what rounding does is far below any step.
    assert float(loss_of(task).detach()) < before * (1 - 10 * torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradients_are_those_of_finite_differences(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, along a random direction of the mapper's weights."""
    monkeypatch.setattr(transformer_flux, "apply_rotary_emb", rotated)
    pipe = built(kind)
    pipe.transformer.double()
    task = task_of(pipe)
    mapper = task.word.mapper.double()
    weights = [weight for weight in mapper.parameters() if weight.requires_grad]
    generator = torch.Generator().manual_seed(1)
    step = [torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in weights]
    task.pictures.mean, task.pictures.std = task.pictures.mean.double(), task.pictures.std.double()
    given = task.conditions.given
    given |= {n: v.double() for n, v in given.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
    grads = torch.autograd.grad(loss_of(task), weights)
    along = float(sum((grad * part).sum() for grad, part in zip(grads, step, strict=True)))
    losses, size = [], 1e-5
    for sign in (1, -2):
        with torch.no_grad():
            for weight, part in zip(weights, step, strict=True):
                weight += sign * size * part
            losses.append(float(loss_of(task)))
    assert (losses[0] - losses[1]) / (2 * size) == pytest.approx(along, rel=1e-4)


def rotated(x: torch.Tensor, freqs: tuple[torch.Tensor, torch.Tensor], sequence_dim: int = 2) -> torch.Tensor:
    """Rotary embedding of FLUX.1, which computes in float32 whatever comes."""
    assert sequence_dim == 1
    cos, sin = (part.to(x)[None, :, None] for part in freqs)
    real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cos + torch.stack([-imaginary, real], dim=-1).flatten(3) * sin


def test_personalize_teaches_a_pipeline_a_word(tmp_path: Path) -> None:
    """It is plugged in, and its file gives the same pictures in a pipeline that is loaded anew."""
    pipe, other = built("SD3Transformer2DModel"), built("SD3Transformer2DModel")
    weights = {name: weight.clone() for name, weight in pipe.transformer.state_dict().items()}
    made = pipelines.personalize(
        pictures(), "<mine>", model=pipe, category="toy", config=CONFIG, output_dir=tmp_path / "run"
    )
    assert made is pipe
    assert all(torch.equal(weights[name], weight) for name, weight in pipe.transformer.state_dict().items())
    picture = drawn(pipe, ["a photo of a <mine>"])
    concept = load_concept(tmp_path / "run" / "concept.safetensors")
    assert (concept.token, concept.category, concept.settings["steps"]) == ("<mine>", "toy", 3)
    assert (tmp_path / "run" / "report.json").is_file()
    with concept.plug(other):
        assert torch.equal(drawn(other, ["a photo of a <mine>"]), picture)
        assert moved(drawn(other, ["a photo of a <mine>"]), drawn(other, ["a photo of a toy"]))


def test_what_cannot_be_learned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = built("SanaTransformer2DModel")
    with pytest.raises(ValueError, match="words cannot be learned with SanaPipeline yet; give a pipeline of one"):
        pipelines.personalize(pictures(), "<mine>", model=pipe, config=CONFIG)
    pipe = built("PixArtTransformer2DModel")
    with pytest.raises(ValueError, match="resolution must be a multiple of 4, got 33; take 32 or 36"):
        pipelines.personalize(pictures(), "<mine>", model=pipe, config=PersonalizeConfig(resolution=33))
    with pytest.raises(ValueError, match="method='xti' is for models with a UNet; leave it out for PixArtAlpha"):
        pipelines.personalize(pictures(), "<mine>", model=pipe, config=PersonalizeConfig(method="xti"))
    with pytest.raises(ValueError, match="PixArtAlphaPipeline learns one word at a time; call personalize once"):
        pipelines.personalize({"<a>": pictures(), "<b>": pictures()}, model=pipe)
    monkeypatch.setattr(pipe.vae, "_hf_hook", None, raising=False)
    with pytest.raises(ValueError, match="weights of this PixArtAlphaPipeline are offloaded between calls, so words"):
        pipelines.personalize(pictures(), "<mine>", model=pipe, config=CONFIG)
    assert "encode_prompt" not in pipe.__dict__
