"""The check at the end of a test run sees files that tests wrote, replaced, deleted or closed to others."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType


def test_every_change_is_seen(source_tree: ModuleType, tmp_path: Path) -> None:
    weights, code = tmp_path / "configs" / "a.safetensors", tmp_path / "code.py"
    weights.parent.mkdir()
    for path in (weights, code):
        path.write_text("1")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "a"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    before = source_tree.state(tmp_path)
    assert source_tree.changes(before, source_tree.state(tmp_path)) == []
    code.write_text("2")
    (tmp_path / "new.txt").write_text("")
    weights.chmod(0o600)
    assert source_tree.changes(before, source_tree.state(tmp_path)) == ["code.py", "configs/a.safetensors", "new.txt"]
    after = source_tree.state(tmp_path)
    weights.write_text("1")
    assert source_tree.changes(after, source_tree.state(tmp_path)) == ["configs/a.safetensors"]
    weights.unlink()
    assert "configs/a.safetensors" in source_tree.changes(after, source_tree.state(tmp_path))
