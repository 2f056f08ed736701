"""The cache of embeddings and pairs of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mappers.embedding_cache import EmbeddingCache, space_id
from mappers.pairs import Pairs, PairTask
from mappers.training.draws import Draws
from mappers.v2a import RegressionMapper


class Counting:
    """Embeds a file as [its length, its first byte], and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, paths: list[Path]) -> Tensor:
        self.asked += [path.name for path in paths]
        return torch.tensor([[float(path.stat().st_size), float(path.read_bytes()[0])] for path in paths])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.bin" for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * (i + 1))
    return paths


def test_contents_are_embedded_once_whatever_the_file_is_called(files: list[Path], tmp_path: Path) -> None:
    embed = Counting()
    first = EmbeddingCache(tmp_path / "cache", "a").embed(files, embed, batch=2)
    assert first[:, 0].tolist() == [1, 2, 3, 4, 5]
    copy = files[3].rename(tmp_path / "moved.bin")
    again = EmbeddingCache(tmp_path / "cache", "a").embed([copy, files[0], copy], embed)
    assert again[:, 0].tolist() == [4, 1, 4]
    assert sorted(embed.asked) == [f"{i}.bin" for i in range(5)]
    files[0].write_bytes(b"changed")
    assert EmbeddingCache(tmp_path / "cache", "a").embed(files[:1], embed)[0, 0] == 7
    EmbeddingCache(tmp_path / "cache", "b").embed(files[1:2], embed)
    assert embed.asked[-2:] == ["0.bin", "1.bin"]


def test_an_interrupted_run_keeps_what_was_done_and_a_damaged_file_is_done_again(
    files: list[Path], tmp_path: Path
) -> None:
    def breaks(paths: list[Path]) -> Tensor:
        if paths[0].name == "2.bin":
            raise KeyboardInterrupt
        return Counting()(paths)

    with pytest.raises(KeyboardInterrupt):
        EmbeddingCache(tmp_path / "cache", "a").embed(files, breaks, batch=2)
    embed = Counting()
    EmbeddingCache(tmp_path / "cache", "a").embed(files, embed)
    assert embed.asked == ["2.bin", "3.bin", "4.bin"]
    for path in (tmp_path / "cache" / "a").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    embed = Counting()
    EmbeddingCache(tmp_path / "cache", "a").embed(files, embed)
    assert len(embed.asked) == 5


def test_space_ids_tell_weights_apart_and_see_through_half_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).half()
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert space_id(model) == space_id(model.float())
    assert space_id(model) != space_id(other)


def test_pairs_join_all_of_one_name() -> None:
    pairs = Pairs.by_name(torch.zeros(3, 2), ["a", "b", "c"], torch.zeros(3, 2), ["b", "a", "b"])
    assert pairs.index.tolist() == [[0, 1], [1, 0], [1, 2]]
    with pytest.raises(ValueError, match="no name is on both sides: a and b"):
        Pairs.by_name(torch.zeros(1, 2), ["a"], torch.zeros(1, 2), ["b"])


def test_batches_hold_pairs_that_belong_together_and_do_not_depend_on_how_they_are_split() -> None:
    condition, target = torch.arange(4.0)[:, None], 10 * torch.arange(4.0)[:, None]
    names = list("abcd")
    task = PairTask(RegressionMapper(1, 1), Pairs.by_name(condition, names, target, names), batch_size=64)
    whole = task.batch(Draws(0, 3, range(64)))
    assert torch.equal(whole[1], 10 * whole[0])
    assert len(whole[0].unique()) == 4
    halves = [task.batch(Draws(0, 3, part)) for part in (range(32), range(32, 64))]
    assert torch.equal(torch.cat([half[0] for half in halves]), whole[0])
