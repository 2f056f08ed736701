"""Checkpoints: exact round trip, and nothing unexpected is read."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch

from mappers.training import checkpoints
from mappers.training.checkpoints import Checkpoint, CheckpointError


def example(step: int) -> Checkpoint:
    return Checkpoint(
        step=step,
        weights={"a.weight": torch.randn(3, 2), "half": torch.randn(4).half()},
        optimizer={"a.weight|exp_avg": torch.randn(3, 2)},
        ema={"0": torch.randn(3, 2)},
        state={"config": {"seed": 0}},
    )


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    saved = example(7)
    checkpoints.save(tmp_path, saved, keep_last=2)
    loaded = checkpoints.load(tmp_path)
    assert loaded.step == 7
    assert loaded.state == saved.state
    for name in ("weights", "optimizer", "ema"):
        before, after = getattr(saved, name), getattr(loaded, name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 1_000_000, 30):
        checkpoints.save(tmp_path, example(step), keep_last=2)
    assert checkpoints.steps(tmp_path) == [30, 1_000_000]
    assert checkpoints.load(tmp_path, 30).step == 30


def test_a_planted_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = checkpoints.save(tmp_path / "c", example(1), keep_last=2)
    (folder / "optimizer.bin").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(CheckpointError, match=r"optimizer\.bin does not belong"):
        checkpoints.load(tmp_path / "c")
    assert not (tmp_path / "owned").exists()


def test_a_pickle_in_place_of_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = checkpoints.save(tmp_path / "c", example(1), keep_last=2)
    (folder / "optimizer.safetensors").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(CheckpointError, match="damaged.*delete that folder"):
        checkpoints.load(tmp_path / "c")
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(tmp_path, example(1), keep_last=2)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "_flush", full)
    with pytest.raises(CheckpointError, match="the disk is full; earlier checkpoints are intact"):
        checkpoints.save(tmp_path, example(2), keep_last=2)
    assert checkpoints.load(tmp_path).step == 1
    assert [child.name for child in tmp_path.iterdir()] == ["step_000001"]


def test_no_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoints.load(tmp_path)
