"""The command that trains a mapper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mappers.code_mapper import CodeMapper, RidgeCodeMapper, load_code_mapper
from mappers.training.train_config import TrainConfig
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.mapping.objective import ObjectiveConfig
from nerf.conditional.mapping.render_task import MapperConfig
from nerf.conditional.train_mapper import Arguments, main

FEW = TrainConfig(steps=3, batch_size=2, learning_rate=1e-2, weight_decay=0.0, cpu=True, log_every=1)
SMALL = MapperConfig(hidden=8, prompts=6, objective=ObjectiveConfig(size=8), library=FEW, train=FEW)


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
    report = json.loads((run / "report.json").read_text())
    assert report["method"] == method
    assert report["settings"]["hidden"] == SMALL.hidden
    assert "torch" in report["versions"]
    assert (run / "loss.png").exists() == ("val/clip_gain" in report["metrics"]) == (method == "mapper")
    assert ConditionalModel.load(tmp_path / "model").notes == untrained.notes
