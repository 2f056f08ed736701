"""The demo's folder: an earlier demo is replaced, files of somebody else are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from demos import cli, example


def test_a_folder_that_is_not_an_earlier_demo_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def start(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(example.pipelines, "personalize", start, raising=False)
    mine, demo = tmp_path / "mine", tmp_path / "demo"
    mine.mkdir()
    (mine / "holiday.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="holds files that are not of an earlier demo; choose another output folder"):
        cli.Demo(output=mine).run()
    assert (mine / "holiday.png").read_bytes() == b"x"
    for _ in range(2):
        with pytest.raises(Started):
            cli.Demo(output=demo).run()
        assert [path.name for path in demo.iterdir()] == [example.MARK]
        (demo / "grid.png").write_bytes(b"x")
