"""A category model: pictures against closed forms, codes, and folders that are whole or named as broken."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nerf.conditional import ConditionalModel, ConditionalModelError
from nerf.conditional import model as module
from nerf.conditional.model import CONFIG, REMEMBERED, WEIGHTS
from nerf.rendering.renderer import render_picture


def test_a_ball_looks_like_one_from_every_side(balls: ConditionalModel) -> None:
    """Its silhouette is the disc of rays that pass nearer than its radius, in its own grey on the background's."""
    shape, appearance = balls.codes(4)
    for azimuth, elevation in ((0, 20), (130, 65), (270, 40)):
        camera = balls.camera(azimuth, elevation, 48)
        rays = camera.picture_rays(0)
        passing = torch.linalg.cross(rays.origins, rays.directions).norm(dim=-1).view(48, 48)
        picture = balls.render(shape, appearance, camera, background=0.25)
        sure = (passing - shape[0]).abs() > 0.03
        seen = passing < shape[0]
        expected = torch.where(seen, appearance[0], torch.tensor(0.25))[..., None].expand(-1, -1, 3)
        torch.testing.assert_close(picture.color[sure], expected[sure], atol=0.02, rtol=0)
        middle = picture.depth[24, 24]
        assert float(middle) == pytest.approx(2.6 - float(shape[0]), abs=0.04)


def test_a_uniform_field_absorbs_by_the_length_of_the_ray_in_its_box(untrained: ConditionalModel) -> None:
    """`at` gives an ordinary field: without an occupancy grid, 1 - exp(-density * chord)."""
    field = untrained.field
    for layer in (field.trunk.last, field.branch.last):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    field.trunk.last.bias.data[0] = math.log(0.7)
    field.branch.last.bias.data[:] = torch.tensor([-1.0, 0.0, 2.0])
    camera = untrained.camera(20, 30, 16)
    picture = render_picture(field.at(*untrained.codes(0)), camera, untrained.marching, background=0.0)
    rays = camera.picture_rays(0)
    faces = (field.bounds[:, None] - rays.origins) / rays.directions
    chord = (faces.amax(0).amin(-1) - faces.amin(0).amax(-1)).clamp(min=0)
    expected = (1 - (-0.7 * chord).exp()).view(16, 16)
    torch.testing.assert_close(picture.opacity, expected, atol=0.02, rtol=0)
    hit = picture.opacity > 0.1
    color = picture.color[hit] / picture.opacity[hit][:, None]
    torch.testing.assert_close(color, torch.tensor([-1.0, 0.0, 2.0]).sigmoid().expand_as(color), atol=1e-4, rtol=0)


def test_appearance_moves_nothing_in_a_picture(untrained: ConditionalModel) -> None:
    torch.nn.init.constant_(untrained.field.trunk.last.bias[:1], 1.0)  # dense enough to be seen
    camera = untrained.camera(45, 30, 12)
    shape = untrained.shape_codes[1]
    one, other = (untrained.render(shape, code, camera) for code in untrained.appearance_codes[:2])
    assert 0.1 < float(one.opacity.mean())
    assert torch.equal(one.opacity, other.opacity)
    assert torch.equal(one.depth, other.depth)
    assert not torch.equal(one.color, other.color)


def test_grids_of_shapes_are_not_mixed_up_and_few_are_kept(balls: ConditionalModel) -> None:
    camera = balls.camera(0, 30, 16)
    appearance = balls.appearance_codes[0]
    first = [balls.render(shape, appearance, camera).opacity for shape in balls.shape_codes]
    again = [balls.render(shape, appearance, camera).opacity for shape in balls.shape_codes.flip(0)]
    assert all(torch.equal(a, b) for a, b in zip(first, reversed(again), strict=True))
    areas = [float(opacity.mean()) for opacity in first]
    assert areas == sorted(areas)
    assert len(balls._grids) <= REMEMBERED


def test_traced_rays_show_the_picture_and_let_gradients_through(balls: ConditionalModel) -> None:
    """A larger ball hides more of the ground; a brighter one is brighter."""
    shape, appearance = (code.clone().requires_grad_() for code in balls.codes(3))
    camera = balls.camera(10, 40, 24)
    rays = camera.picture_rays(0)
    traced = balls.trace(shape, appearance, rays, torch.ones(len(rays), 3))
    picture = balls.render(shape, appearance, camera)
    torch.testing.assert_close(traced.color.view(24, 24, 3), picture.color, atol=5e-3, rtol=0)
    of_shape = torch.autograd.grad(traced.opacity.sum(), shape, retain_graph=True)[0]
    of_appearance = torch.autograd.grad(traced.color.sum(), appearance)[0]
    assert of_shape[0] > 0
    assert of_appearance[0] > 0
    assert not of_shape[1:].any()


def test_size_and_instance_are_checked(balls: ConditionalModel) -> None:
    camera = balls.camera(0, 30, 20)
    assert balls.render(*balls.codes(0), camera, size=31).color.shape == (31, 31, 3)
    for size in (0, -4):
        with pytest.raises(ValueError, match=f"size must be at least 1 pixel, got {size}"):
            balls.render(*balls.codes(0), camera, size=size)
        with pytest.raises(ValueError, match="size must be at least 1 pixel"):
            balls.camera(0, 30, size)
    for instance in (-1, 5):
        with pytest.raises(ValueError, match=f"instance {instance} does not exist; there are 0..4"):
            balls.codes(instance)
    shape, appearance = balls.codes(4)
    assert torch.equal(shape, balls.shape_codes[4])
    assert torch.equal(appearance, balls.appearance_codes[1])


def test_sampled_codes_depend_on_the_seed_and_are_usual(untrained: ConditionalModel) -> None:
    (one, same, other) = (untrained.sample(seed) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    assert [len(code) for code in one] == [4, 3]
    distances = torch.stack([untrained.mahalanobis(untrained.sample(seed)[0], "shape") for seed in range(400)])
    assert float(distances.square().mean()) == pytest.approx(4, abs=0.6)
    assert untrained.mahalanobis(untrained.shape_codes.mean(0) + 50, "shape") > 10
    assert untrained.mahalanobis(untrained.appearance_codes, "appearance").shape == (5,)


def test_saved_and_loaded_again(untrained: ConditionalModel, tmp_path: Path) -> None:
    untrained.save(tmp_path / "one")
    loaded = ConditionalModel.load(tmp_path / "one")
    assert torch.equal(loaded.shape_codes, untrained.shape_codes.half().float())
    assert loaded.field.config == untrained.field.config
    assert (loaded.family.name, loaded.notes) == ("chairs", {"steps": 7})
    assert not any(parameter.requires_grad for parameter in loaded.field.parameters())
    loaded.save(tmp_path / "two")
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    camera = untrained.camera(0, 30, 12)
    pictures = [model.render(*model.codes(2), camera).color for model in (untrained, loaded)]
    torch.testing.assert_close(*pictures, atol=0.01, rtol=0)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {WEIGHTS, CONFIG}


def test_what_is_not_there_is_named(tmp_path: Path, untrained: ConditionalModel) -> None:
    with pytest.raises(FileNotFoundError, match="nano-trucks"):
        ConditionalModel.load("nano-trucks")
    for name in (WEIGHTS, CONFIG):
        untrained.save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"no category field \({name} is missing\); train one with"):
            ConditionalModel.load(tmp_path)


def test_damaged_files_are_named(tmp_path: Path, untrained: ConditionalModel) -> None:
    def damage_config(**changes: object) -> None:
        untrained.save(tmp_path)
        config = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(json.dumps({**config, **changes}))

    def damage_tensors(name: str, value: torch.Tensor) -> None:
        untrained.save(tmp_path)
        save_file({**load_file(tmp_path / WEIGHTS), name: value}, tmp_path / WEIGHTS)

    def refused(message: str) -> None:
        with pytest.raises(ConditionalModelError, match=message) as caught:
            ConditionalModel.load(tmp_path)
        assert str(tmp_path) in str(caught.value)

    damage_config(format=2)
    refused("has format 2, this program reads 1")
    damage_config(family="boats")
    refused("unknown family 'boats'; known are chairs, cars")
    damage_config(field={"width": 24, "depth": 3})
    refused("not a whole category field .*depth.*; restore or train it again")
    damage_config(field={**json.loads((tmp_path / CONFIG).read_text())["field"], "depth": 1, "width": -3})
    refused("not a whole category field")
    untrained.save(tmp_path)
    (tmp_path / CONFIG).write_text('{"model_type": "clip"}')
    refused("holds another kind of model; train one with")
    (tmp_path / CONFIG).write_text('{"family": ')
    refused("not a whole category field")
    damage_tensors("shape_codes", torch.full((6, 4), torch.nan))
    refused("numbers are not finite")
    damage_tensors("appearance_codes", torch.zeros(5, 9))
    refused("codes have other sizes than the field's")
    damage_tensors("field.trunk.0.weight", torch.zeros(3, 3))
    refused("not a whole category field")
    untrained.save(tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    refused("not a whole category field")


def test_shipped_models_have_ids(tmp_path: Path, untrained: ConditionalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    with pytest.raises(FileNotFoundError, match="the model nano-cars is not part of this installation; train one"):
        ConditionalModel.load("nano-cars")
    with pytest.raises(FileNotFoundError, match="'nano-trucks' is neither a folder nor one of nano-chairs, nano-cars"):
        ConditionalModel.load("nano-trucks")
    untrained.save(tmp_path / "nano-chairs")
    loaded = ConditionalModel.load("nano-chairs")
    assert loaded.notes == untrained.notes
    assert loaded.space == ConditionalModel.load(tmp_path / "nano-chairs").space != untrained.space  # half precision
