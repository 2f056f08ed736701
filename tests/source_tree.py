"""Whether tests leave the source tree as it was: files of git, and shipped models and settings with their modes."""

from __future__ import annotations

import subprocess
from pathlib import Path

SHIPPED = ("pipelines/nano", "nerf/nano", "configs")
"""Folders whose files are part of the installation, and which programs that are tested can write to."""
State = dict[str, tuple[int, ...] | str]


def state(root: Path) -> State:
    """Permissions, size and time of each shipped file by path, and what git says of changed files."""
    found: State = {}
    for folder in SHIPPED:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                about = path.stat()
                found[path.relative_to(root).as_posix()] = (about.st_mode, about.st_size, about.st_mtime_ns)
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):  # no git, or the files of a release
        return found
    return found | {line[3:]: line[:2] for line in done.stdout.splitlines() if line[3:] not in found}


def changes(before: State, after: State) -> list[str]:
    """Paths that differ between two states."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
