"""Mappers of codes: a new one changes nothing, strength is linear, the two codes are independent; the closed form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mappers.code_mapper import CodeEditor, CodeMapper, RidgeCodeMapper, load_code_mapper
from mappers.registry import mapper_class, mapper_name

SOURCE, SHAPE, APPEARANCE = 8, 5, 3


def moving(name: str) -> CodeEditor:
    """A mapper whose displacements are not zero."""
    torch.manual_seed(0)
    if name == "ridge":
        mapper = RidgeCodeMapper(SOURCE, SHAPE, APPEARANCE)
        mapper.fit(torch.randn(50, SOURCE), torch.randn(50, SHAPE), torch.randn(50, APPEARANCE))
        return mapper
    mapper = CodeMapper(SOURCE, SHAPE, APPEARANCE, hidden=16, rank=2 if name == "sees code" else 0)
    for parameter in mapper.parameters():
        nn.init.normal_(parameter, std=0.3)
    mapper.set_statistics("shape", torch.randn(SHAPE), torch.randn(SHAPE, SHAPE).tril() + 2 * torch.eye(SHAPE))
    return mapper


def inputs(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    embedding, shape, appearance = (
        torch.randn(count, width, generator=generator) for width in (SOURCE, SHAPE, APPEARANCE)
    )
    return embedding, shape, appearance


MAPPERS = ("plain", "sees code", "ridge")


@pytest.mark.parametrize(("rank", "tolerance"), [(0, 0.0), (2, 0.05)])
def test_a_fresh_mapper_changes_nothing(rank: int, tolerance: float) -> None:
    embedding, shape, appearance = inputs()
    moved = CodeMapper(SOURCE, SHAPE, APPEARANCE, rank=rank).edit(embedding, shape, appearance)
    torch.testing.assert_close(moved[0], shape, atol=tolerance, rtol=0)
    torch.testing.assert_close(moved[1], appearance, atol=tolerance, rtol=0)


def test_an_edit_and_the_likelihood_use_the_same_gaussian() -> None:
    """Covariances and densities equal torch's own."""
    mapper = moving("sees code")
    assert isinstance(mapper, CodeMapper)
    embedding, shape, _ = inputs()
    place, along = mapper.predicted_gaussian("shape", embedding)
    factor = mapper.get_buffer("shape_factor")
    covariance = factor @ torch.linalg.inv(torch.eye(SHAPE) + along @ along.mT) @ factor.T
    mean = mapper.get_buffer("shape_mean") + place @ factor.T
    said = torch.distributions.MultivariateNormal(mean, covariance)
    known = torch.distributions.MultivariateNormal(mapper.get_buffer("shape_mean"), factor @ factor.T)
    constant = -known.log_prob(mapper.get_buffer("shape_mean"))
    torch.testing.assert_close(mapper.nll("shape", embedding, shape), -said.log_prob(shape) - constant)
    moved = mapper.edit(embedding, shape, inputs()[2])[0]
    kept = covariance @ torch.linalg.inv(factor @ factor.T)
    expected = mean + ((shape - mapper.get_buffer("shape_mean"))[:, None] @ kept.mT)[:, 0]
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MAPPERS)
def test_strength_zero_changes_nothing_and_displacement_is_linear_in_strength(name: str) -> None:
    mapper, (embedding, shape, appearance) = moving(name), inputs()
    none, once, thrice = (mapper.edit(embedding, shape, appearance, strength=s) for s in (0.0, 1.0, -3.0))
    for before, zero, one, three in zip((shape, appearance), none, once, thrice, strict=True):
        assert torch.equal(zero, before)
        assert (one - before).abs().max() > 0.01
        torch.testing.assert_close(three - before, -3 * (one - before), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MAPPERS)
def test_the_two_codes_are_edited_independently(name: str) -> None:
    mapper, (embedding, shape, appearance) = moving(name), inputs()
    both = mapper.edit(embedding, shape, appearance)
    shape_only = mapper.edit(embedding, shape, appearance, appearance=False)
    appearance_only = mapper.edit(embedding, shape, appearance, shape=False)
    assert torch.equal(shape_only[0], both[0])
    assert torch.equal(shape_only[1], appearance)
    assert torch.equal(appearance_only[0], shape)
    assert torch.equal(appearance_only[1], both[1])
    other = mapper.edit(embedding, shape, appearance + 1)
    assert torch.equal(other[0], both[0]), "a shape's displacement depends on the appearance code"


@pytest.mark.parametrize("name", MAPPERS)
def test_only_the_direction_of_an_embedding_counts(name: str) -> None:
    mapper, (embedding, shape, appearance) = moving(name), inputs()
    once, fivefold = (mapper.edit(scale * embedding, shape, appearance)[0] for scale in (1, 5))
    torch.testing.assert_close(once, fivefold, atol=1e-4, rtol=1e-4)


def test_only_a_mapper_that_sees_the_code_moves_objects_differently() -> None:
    embedding, shape, appearance = inputs()
    same = embedding[:1].expand_as(embedding)
    for name, alike in (("plain", True), ("sees code", False)):
        moved = moving(name).edit(same, shape, appearance)[0] - shape
        assert torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-5) is alike


def test_ridge_finds_a_linear_code_and_leaves_components_that_embeddings_do_not_predict() -> None:
    generator = torch.Generator().manual_seed(2)
    embedding = torch.nn.functional.normalize(torch.randn(4000, SOURCE, generator=generator), dim=-1)
    predictable = embedding @ torch.randn(SOURCE, SHAPE - 1, generator=generator) + 0.5
    unpredictable = torch.randn(4000, 1, generator=generator)
    mapper = RidgeCodeMapper(SOURCE, SHAPE, SHAPE - 1)
    mapper.fit(embedding, torch.cat([predictable, unpredictable], 1), predictable, ridge=1e-8)
    shape, appearance = torch.randn(9, SHAPE, generator=generator), torch.randn(9, SHAPE - 1, generator=generator)
    moved = mapper.edit(embedding[:9], shape, appearance)
    torch.testing.assert_close(moved[1], predictable[:9], atol=1e-3, rtol=1e-3)
    # By chance 4,000 rows seem to predict sqrt(d / n) of the unpredictable component, and rarely four times that.
    chance = 4 * (SOURCE / 4000) ** 0.5
    torch.testing.assert_close(moved[0][:, :-1], predictable[:9], atol=chance, rtol=0)
    torch.testing.assert_close(moved[0][:, -1], shape[:, -1], atol=chance, rtol=0)


def test_ridge_minimises_the_penalised_squares() -> None:
    embedding, shape, appearance = inputs(30)
    mapper = RidgeCodeMapper(SOURCE, SHAPE, APPEARANCE)
    mapper.fit(embedding, shape, appearance, ridge=0.3)
    guess = mapper.guesses["shape"]
    assert isinstance(guess, nn.Linear)
    rows = SOURCE**0.5 * embedding / embedding.norm(dim=1, keepdim=True)
    loss = (guess(rows) - shape).square().sum() + 0.3 * len(rows) * guess.weight.square().sum()
    loss.backward()
    assert guess.weight.grad is not None
    assert guess.bias.grad is not None
    assert guess.weight.grad.abs().max() < 1e-3
    assert guess.bias.grad.abs().max() < 1e-3


@pytest.mark.parametrize("name", MAPPERS)
def test_a_saved_mapper_comes_back_whole(name: str, tmp_path: Path) -> None:
    mapper = moving(name)
    mapper.save_pretrained(tmp_path)
    again = mapper_class(mapper_name(mapper)).from_pretrained(tmp_path)  # pyright: ignore
    for one, other in zip(mapper.edit(*inputs()), again.edit(*inputs()), strict=True):
        assert torch.equal(one, other)


def test_bad_input_is_refused() -> None:
    mapper, (embedding, shape, appearance) = moving("plain"), inputs()
    with pytest.raises(ValueError, match="embeddings of width 8, got 7"):
        mapper.edit(embedding[:, :-1], shape, appearance)
    with pytest.raises(ValueError, match="shape codes of 5 numbers, got 4"):
        mapper.edit(embedding, shape[:, :-1], appearance)
    with pytest.raises(ValueError, match="appearance code has numbers that are not finite"):
        mapper.edit(embedding, shape, appearance * torch.nan)
    with pytest.raises(ValueError, match="finite number, got inf"):
        mapper.edit(embedding, shape, appearance, strength=float("inf"))
    with pytest.raises(ValueError, match="two pairs or more"):
        RidgeCodeMapper(SOURCE, SHAPE, APPEARANCE).fit(embedding[:1], shape[:1], appearance[:1])


def test_another_field_or_clip_is_refused() -> None:
    mapper = CodeMapper(SOURCE, SHAPE, APPEARANCE, field_space="f", clip_space="c")
    mapper.check_spaces("f", "c")
    with pytest.raises(ValueError, match="trained with the field f, but the one in use is g"):
        mapper.check_spaces("g", "c")
    with pytest.raises(ValueError, match="trained with the clip c, but the one in use is d"):
        mapper.check_spaces("f", "d")


@pytest.mark.parametrize("name", MAPPERS)
def test_a_saved_mapper_of_any_class_is_read(name: str, tmp_path: Path) -> None:
    mapper, values = moving(name), inputs()
    mapper.save_pretrained(tmp_path)
    loaded = load_code_mapper(tmp_path)
    assert type(loaded) is type(mapper)
    for one, other in zip(loaded(*values), mapper.edit(*values), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_mapper_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no mapper of codes; train one with"):
        load_code_mapper(tmp_path)
    mapper = moving("plain")
    mapper.save_pretrained(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ValueError, match="is not a whole mapper of codes"):
        load_code_mapper(tmp_path)
    nn.init.constant_(next(mapper.parameters()), torch.nan)
    mapper.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="its numbers are not finite"):
        load_code_mapper(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ValueError, match="it is of the class UNet2DModel"):
        load_code_mapper(tmp_path)
