"""What mappers learn from: libraries, the objective in closed forms, stage 2, the command, and optimisation alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from mappers.code_mapper import CodeMapper, RidgeCodeMapper, load_code_mapper
from mappers.draws import Draws
from mappers.train_config import TrainConfig
from mappers.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families.splits import split_of
from nerf.conditional.mapping.caption_library import build_library, fit_ridge
from nerf.conditional.mapping.caption_task import CaptionTask
from nerf.conditional.mapping.code_optimization import OptimizerConfig, PromptOptimizer
from nerf.conditional.mapping.objective import EditTarget, Objective, ObjectiveConfig
from nerf.conditional.mapping.render_task import MapperConfig, MapperTask
from nerf.conditional.train_mapper import Arguments, main

FEW = TrainConfig(steps=3, batch_size=2, learning_rate=1e-2, weight_decay=0.0, cpu=True, log_every=1)
SMALL = MapperConfig(hidden=8, prompts=6, objective=ObjectiveConfig(size=8), library=FEW, train=FEW)
WHITE = torch.tensor([[0.0, 1.0]])


def test_a_library_holds_true_pairs_that_are_not_held_out(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    known = build_library(untrained, tiny_clip, 40, pictures=0.25, seed=1)
    held = split_of(untrained.family, 6, 5).held_out_pairs
    assert not held[known.shape, known.palette].any()
    assert [bool(prompt) for prompt in known.prompts] == [False] * 10 + [True] * 30
    torch.testing.assert_close(known.embedding[10:], tiny_clip.embed_texts(known.prompts[10:]))
    assert torch.equal(known.embedding, build_library(untrained, tiny_clip, 40, pictures=0.25, seed=1).embedding)
    with pytest.raises(ValueError, match="a library needs 1 entry or more"):
        build_library(untrained, tiny_clip, 0)


def test_the_closed_form_knows_what_it_lies_between(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    mapper = fit_ridge(untrained, tiny_clip, count=20)
    mapper.check_spaces(untrained.space, tiny_clip.space)
    with pytest.raises(ValueError, match="trained with the field"):
        mapper.check_spaces("another", tiny_clip.space)


def test_the_objective_is_its_parts(balls: ConditionalModel, brightness: Scorer) -> None:
    """Usual codes cost what they deviate; a target that is fulfilled costs nothing; the direction needs a before."""
    codes = balls.shape_codes[:1] + 0.1, balls.appearance_codes[:1]
    cameras, ground = balls.camera(0, 30, 8), torch.full((1, 3), 0.3)
    config = ObjectiveConfig(size=8, clip_weight=2.0, plausibility_weight=3.0)
    objective = Objective(balls, brightness, config)
    shown = objective.embed_renders(*codes, cameras, ground)
    found = objective(codes, codes, EditTarget(shown), cameras, ground)
    expected = sum(
        float(balls.prior(kind).whiten(code).square().mean())
        for kind, code in (("shape", codes[0]), ("appearance", codes[1]))
    )
    assert float(found["clip"]) == pytest.approx(0, abs=1e-6)
    assert float(found["loss"]) == pytest.approx(3 * expected / 2, rel=1e-4)
    directed = Objective(balls, brightness, dataclasses.replace(config, direction_weight=1.0))
    with pytest.raises(ValueError, match="direction_weight needs"):
        directed(codes, codes, EditTarget(WHITE), cameras, ground)
    brighter = codes[0], codes[1] + torch.tensor([[0.3, 0.0, 0.0]])
    moved = balls.appearance_prior.whiten(brighter[1]) - balls.appearance_prior.whiten(codes[1])
    changed = objective(codes, brighter, EditTarget(shown), cameras, ground)["change"]
    torch.testing.assert_close(changed, moved.square().mean() / 2)  # of two codes one stayed
    assert float(found["change"]) == 0
    right, wrong = (
        directed(codes, brighter, EditTarget(target, WHITE.flip(1)), cameras, ground)["direction"]
        for target in (WHITE, torch.tensor([[2.0, -1.0]]))
    )
    assert float(right) < 0.5 < 1.5 < float(wrong)


def test_a_library_teaches_what_it_says(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    """Codes surprise less; texts move all shapes alike, pictures need not; instances without captions have pictures."""
    train = dataclasses.replace(FEW, steps=60, batch_size=64)
    config = dataclasses.replace(SMALL, hidden=64, prompts=40, pictures=0.5, library=train)
    task = MapperTask(untrained, tiny_clip, config)
    lesson, everything = CaptionTask(task), Draws(0, 0, range(200))
    with torch.no_grad():
        before = lesson.loss(lesson.modules, lesson.batch(everything), everything)
    fit(lesson, train)
    with torch.no_grad():
        after = lesson.loss(lesson.modules, lesson.batch(everything), everything)
        along = task.mapper.predicted_gaussian("shape", task.library.embedding)[1].square().sum((1, 2))
    assert all(after[kind] < before[kind] for kind in ("shape", "appearance"))
    text = torch.tensor([bool(prompt) for prompt in task.library.prompts])
    assert float(along[text].mean()) < 0.5 * float(along[~text].mean())
    untrained.notes["objective"] = "gan"
    assert not CaptionTask(task).batch(everything).text.any()
    task.library = build_library(untrained, tiny_clip, 4, pictures=0.0)
    with pytest.raises(ValueError, match="set pictures above 0"):
        CaptionTask(task)


def test_stage_two_moves_the_mapper_alone(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    frozen = [{k: v.clone() for k, v in m.state_dict().items()} for m in (untrained.field, tiny_clip.towers.model)]
    task = MapperTask(untrained, tiny_clip, SMALL)
    before = {k: v.clone() for k, v in task.mapper.state_dict().items()}
    fit(task, FEW)
    for module, state in zip((untrained.field, tiny_clip.towers.model), frozen, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not all(torch.equal(value, before[name]) for name, value in task.mapper.state_dict().items())


def test_an_edit_of_one_kind_teaches_its_own_mapper_only(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    task = MapperTask(untrained, tiny_clip, SMALL)
    draws = Draws(0, 0, range(2))
    for of_shape in (True, False):
        batch = dataclasses.replace(task.batch(draws), of_shape=torch.full((2,), of_shape))
        task.mapper.zero_grad()
        task.loss({"mapper": task.mapper}, batch, draws)["loss"].backward()
        learned = {kind: any(bool(p.grad.any()) for p in net.parameters() if p.grad is not None)
                   for kind, net in task.mapper.nets.items()}  # fmt: skip
        assert learned == {"shape": of_shape, "appearance": not of_shape}


def test_a_sample_does_not_depend_on_its_batch(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    """So that several processes learn what one learns; with the direction, whose captions are drawn too."""
    config = dataclasses.replace(SMALL, objective=ObjectiveConfig(size=8, direction_weight=1.0))
    task = MapperTask(untrained, tiny_clip, config)
    both, second = (task.batch(Draws(0, 3, indices)) for indices in ((0, 1), (1,)))
    assert both.target.source is not None
    assert second.target.source is not None
    torch.testing.assert_close(both.target.source[1:], second.target.source)
    for name in ("of_shape", "background", "jitter"):
        assert torch.equal(getattr(both, name)[1:], getattr(second, name))
    assert torch.equal(both.cameras.poses[1:], second.cameras.poses)
    assert all(torch.equal(a[1:], b) for a, b in zip(both.codes, second.codes, strict=True))
    draws = Draws(0, 3, (1,))
    assert task.loss({"mapper": task.mapper}, second, draws)["direction"].isfinite()


def test_a_mapper_learns_to_whiten_balls(balls: ConditionalModel, brightness: Scorer) -> None:
    """Towards bright wishes the grey of the mapped appearance rises, towards dark ones it falls."""
    train = dataclasses.replace(FEW, steps=25, batch_size=6, learning_rate=3e-2)
    objective = ObjectiveConfig(size=8, plausibility_weight=0.0, change_weight=0.0)
    task = MapperTask(balls, brightness, dataclasses.replace(SMALL, objective=objective, train=train, prompts=60))
    fit(task, train)
    grey = balls.appearance_codes[1:2]
    moved = [task.mapper.edit(target, balls.shape_codes[:1], grey)[1][0, 0] for target in (WHITE, WHITE.flip(1))]
    assert moved[0] > grey[0, 0] > moved[1]


def test_optimisation_finds_white_and_leaves_the_shape(balls: ConditionalModel, brightness: Scorer) -> None:
    wanted = ObjectiveConfig(size=8, plausibility_weight=0.0, change_weight=0.0)
    config = OptimizerConfig(steps=8, views=1, objective=wanted)
    optimizer = PromptOptimizer(balls, brightness, config)
    codes = balls.shape_codes[3:4], balls.appearance_codes[1:2]
    shape, appearance = optimizer.edit(WHITE, *codes, shape=False)
    assert shape is codes[0]
    assert appearance[0, 0] > codes[1][0, 0] + 0.05
    none = optimizer.edit(WHITE, *codes, strength=0.0)
    assert all(torch.equal(a, b) for a, b in zip(none, codes, strict=True))
    twice = optimizer.edit(WHITE, *codes, shape=False, strength=2.0)[1]
    torch.testing.assert_close(twice - codes[1], 2 * (appearance - codes[1]))


@pytest.mark.parametrize(("method", "kind"), [("mapper", CodeMapper), ("ridge", RidgeCodeMapper)])
def test_the_command_leaves_a_mapper(
    method: str, kind: type, untrained: ConditionalModel, clip_folder: Path, tmp_path: Path
) -> None:
    untrained.save(tmp_path / "model")
    run = tmp_path / "run"
    main(
        Arguments(
            model=str(tmp_path / "model"), output=run, method=method, clip=str(clip_folder), pairs=20, steps=2,
            export=True, settings=SMALL,
        )
    )  # fmt: skip
    mapper = load_code_mapper(tmp_path / "model" / method)
    assert type(mapper) is kind
    mapper.check_spaces(ConditionalModel.load(tmp_path / "model").space, Scorer.load(clip_folder).space)
    assert json.loads((run / "report.json").read_text())["method"] == method
    assert ConditionalModel.load(tmp_path / "model").notes == untrained.notes
