"""Learning a word on a tiny model: what is trained, what is written, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization.attention import context_attention
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask, min_snr_weight

TOKEN = "<thing>"
CONFIG = PersonalizeConfig(train=TrainConfig(steps=4, batch_size=4, learning_rate=1e-2, save_every=2, log_every=1))


def pictures(count: int = 2) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]


def task(
    pipeline: NeTIPipeline,
    config: PersonalizeConfig = CONFIG,
    pixels: torch.Tensor | None = None,
    inside: torch.Tensor | None = None,
) -> NeTITask:
    mapper = NeTIMapper(pipeline.layers, 16, 20.0)
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        module.requires_grad_(False)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1 if pixels is None else pixels
    return NeTITask(pipeline, [Subject(TOKEN, mapper, pixels, inside)], config)


def test_only_the_mapper_gets_gradients(pipeline: NeTIPipeline) -> None:
    made = task(pipeline)
    draws = Draws(0, 0, range(4))
    with context_attention(pipeline.unet):
        made.loss(made.modules, made.batch(draws), draws)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.modules["mapper"].parameters())
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        assert all(p.grad is None for p in module.parameters())


def test_cached_latents_equal_direct_encoding(pipeline: NeTIPipeline) -> None:
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    made = task(pipeline, dataclasses.replace(CONFIG, flip=0.0), pixels)
    draws = Draws(0, 5, range(3))
    latents, _ = made.batch(draws)
    chosen = draws.integers("picture", 2)
    with torch.no_grad():
        posterior = pipeline.vae.encode(pixels[chosen]).latent_dist
    direct = (posterior.mean + posterior.std * draws.normal("posterior", posterior.mean.shape[1:])) * 0.18215
    torch.testing.assert_close(latents, direct, atol=1e-5, rtol=1e-5)


def test_shared_points_share_timestep_and_sentence_only(pipeline: NeTIPipeline) -> None:
    """Groups of two give the loss of the same four samples, whichever process holds them."""
    made = task(pipeline, dataclasses.replace(CONFIG, shared_points=2))
    made.modules["mapper"].dropout = 0.0
    with context_attention(pipeline.unet), torch.no_grad():
        whole = Draws(0, 0, range(4))
        together = made.loss(made.modules, made.batch(whole), whole)["loss"]
        halves = []
        for indices in ((0, 1), (2, 3)):
            draws = Draws(0, 0, indices)
            halves.append(made.loss(made.modules, made.batch(draws), draws)["loss"])
    torch.testing.assert_close(together, torch.stack(halves).mean(), atol=1e-5, rtol=1e-5)


def test_min_snr_weights_each_sample() -> None:
    """SNRs of 9, 1 and 1/9; both weights represent min(snr, 5) times the squared error of the clean latents."""
    alphas = torch.tensor([0.9, 0.5, 0.1])
    noise, velocity = (min_snr_weight(alphas, 5.0, kind) for kind in ("epsilon", "v_prediction"))
    torch.testing.assert_close(noise, torch.tensor([5 / 9, 1.0, 1.0]))
    torch.testing.assert_close(velocity, torch.tensor([0.5, 0.5, 0.1]))


def test_min_snr_is_applied(pipeline: NeTIPipeline) -> None:
    made = task(pipeline, dataclasses.replace(CONFIG, shared_points=1))
    draws = Draws(0, 0, range(1))
    with context_attention(pipeline.unet), torch.no_grad():
        plain = made.loss(made.modules, made.batch(draws), draws)["loss"]
        made.config = dataclasses.replace(made.config, min_snr=1e-3)
        weighted = made.loss(made.modules, made.batch(draws), draws)["loss"]
    alpha = made.alphas[draws.integers("timestep", 1000)]
    torch.testing.assert_close(weighted / plain, (min_snr_weight(alpha, 1e-3, "epsilon"))[0])


def test_what_a_mask_hides_is_not_learned(pipeline: NeTIPipeline) -> None:
    """The left half counts: errors in the right one change nothing, mirrored pictures included."""
    pixels, inside = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(2, 1, 32, 32)
    inside[..., :16] = 1
    made = task(pipeline, dataclasses.replace(CONFIG, flip=0.5), pixels, inside)
    assert set(made.modules) == {"mapper"}
    weights = made.pictures.weights
    assert weights is not None
    torch.testing.assert_close(weights.mean((2, 3, 4)), torch.ones(2, 2))
    draws = Draws(0, 0, range(6))
    flipped = draws.uniform("flip") < 0.5
    assert flipped.any()
    assert not flipped.all()
    chosen = made.pictures.choose(draws, torch.zeros(6, dtype=torch.long), 0.5)
    hidden = weights[chosen] == 0
    assert hidden[flipped][..., :4].all()
    assert hidden[~flipped][..., 4:].all()
    latents, noise = made.batch(draws)
    with context_attention(pipeline.unet), torch.no_grad():
        pipeline.predict = lambda sample, *_, **__: torch.zeros_like(sample)  # pyright: ignore
        before = made.loss(made.modules, (latents, noise), draws)["loss"]
        after = made.loss(made.modules, (latents, torch.where(hidden, noise + 9, noise)), draws)["loss"]
        seen = made.loss(made.modules, (latents, torch.where(hidden, noise, noise + 9)), draws)["loss"]
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(before, (noise.square() * ~hidden).mean() * 2)
    assert seen > 10 * before


def test_a_background_word_is_learned_and_thrown_away(tiny_model: Path) -> None:
    mask = Image.fromarray(np.zeros((32, 32), np.uint8))
    mask.paste(255, (0, 0, 16, 32))
    config = dataclasses.replace(CONFIG, outside_weight=0.5)
    learned = personalize(pictures(), TOKEN, model=tiny_model, masks=[mask, mask], config=config)
    assert list(learned.concepts) == [TOKEN]
    pixels = torch.rand(2, 3, 32, 32)
    made = task(learned, config, pixels, torch.ones(2, 1, 32, 32))
    background = made.modules["background"].requires_grad_(True)
    draws = Draws(0, 0, range(4))
    with context_attention(learned.unet):
        made.loss(made.modules, made.batch(draws), draws)["loss"].backward()
    assert background.vectors.grad.abs().max() > 0
    with pytest.raises(ValueError, match="the mask of picture 1 of <thing> is black"):
        task(learned, config, pixels, torch.zeros(2, 1, 32, 32))


def test_the_mapper_is_built_as_asked(tiny_model: Path) -> None:
    config = dataclasses.replace(CONFIG, bypass=False, positional_encoding=False, nested_dropout=0.0)
    mapper: Any = personalize(pictures(), TOKEN, model=tiny_model, config=config).concepts[TOKEN].mapper
    assert mapper.output.out_features == sum(mapper.widths)
    assert mapper.net[0].in_features == 2
    assert (mapper.draw_kept_units(Draws(0, 0, range(64))) == mapper.hidden).all()


def test_writes_everything_and_resumes_bit_equal(tiny_model: Path, tmp_path: Path) -> None:
    whole = personalize(pictures(), TOKEN, model=tiny_model, category="toy", config=CONFIG, output_dir=tmp_path / "a")
    for name in ("concept.safetensors", "samples.png", "loss.png", "report.json"):
        assert (tmp_path / "a" / name).stat().st_size > 0
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["metrics"]["steps"] == 4
    assert report["settings"]["train"]["seed"] == 0
    assert set(report["versions"]) >= {"torch", "diffusers"}

    personalize(
        pictures(),
        TOKEN,
        model=tiny_model,
        category="toy",
        config=CONFIG,
        output_dir=tmp_path / "b",
        max_minutes=1e-9,
    )
    resumed = personalize(
        pictures(),
        TOKEN,
        model=tiny_model,
        category="toy",
        config=CONFIG,
        output_dir=tmp_path / "b",
        resume=True,
    )
    a, b = (p.concepts[TOKEN].mapper.state_dict() for p in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_validation_pictures_change_nothing_that_is_learned(tiny_model: Path, tmp_path: Path) -> None:
    watched = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, validate_every=3))
    a = personalize(pictures(), TOKEN, model=tiny_model, category="toy", config=watched, output_dir=tmp_path)
    b = personalize(pictures(), TOKEN, model=tiny_model, category="toy", config=CONFIG)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "step_000003_samples.png",
        "step_000004_samples.png",
    ]
    first, second = (p.concepts[TOKEN].mapper.state_dict() for p in (a, b))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("method", "model"),
    [("neti", "tiny_model"), ("textual-inversion", "tiny_model"), ("xti", "tiny_model"), ("neti", "tiny_sd2")],
)
def test_learns_a_picture(method: str, model: str, request: pytest.FixtureRequest) -> None:
    """The same draws give a lower loss after training than before."""
    steps = TrainConfig(steps=20, batch_size=4, learning_rate=3e-2, log_every=1)
    config = dataclasses.replace(CONFIG, method=method, train=steps)
    learned = personalize(pictures(1), TOKEN, model=request.getfixturevalue(model), category="toy", config=config)
    concept = learned.concepts[TOKEN]
    pixels = torch.from_numpy(np.asarray(pictures(1)[0]).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    made = NeTITask(learned, [Subject(TOKEN, concept.mapper, pixels)], config)
    draws = Draws(99, 0, range(32))
    start = type(concept.mapper).from_config(concept.mapper.config)
    start.start_at(
        learned.text_encoder.get_input_embeddings().weight[
            learned.tokenizer("toy", add_special_tokens=False).input_ids[0]
        ]
    )
    with context_attention(learned.unet), torch.no_grad():
        batch = made.batch(draws)
        after = made.loss({"mapper": concept.mapper}, batch, draws)["loss"]
        before = made.loss({"mapper": start.eval()}, batch, draws)["loss"]
    assert after < before


def test_the_category_init_starts_as_the_category_word(tiny_model: Path) -> None:
    config = dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, steps=1, learning_rate=1e-12, weight_decay=0.0)
    )
    learned = personalize(pictures(1), TOKEN, model=tiny_model, category="toy", config=config)
    noise = {"num_inference_steps": 2, "output_type": "np", "generator": torch.Generator().manual_seed(0)}
    new = np.asarray(learned(f"a photo of a {TOKEN}", **noise).images)
    noise["generator"] = torch.Generator().manual_seed(0)
    toy = np.asarray(learned("a photo of a toy", **noise).images)
    np.testing.assert_allclose(new, toy, atol=2e-2)


def test_bad_input_is_refused_before_training(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in the given list"):
        personalize([], TOKEN, model=tiny_model)
    with pytest.raises(ValueError, match="token 'my cat' has spaces"):
        personalize(pictures(), "my cat", model=tiny_model)
    with pytest.raises(ValueError, match="the category of <thing> is empty"):
        personalize(pictures(), TOKEN, model=tiny_model, category=" ")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"cannot be written, because .*file is a file and no folder"):
        personalize(pictures(), TOKEN, model=tiny_model, output_dir=blocked / "run")


def test_a_category_of_several_words_is_their_mean(tiny_model: Path) -> None:
    learned = personalize(pictures(1), TOKEN, model=tiny_model, category="red toy", steps=1, config=CONFIG)
    assert learned.concepts[TOKEN].category == "red toy"
