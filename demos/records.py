"""What a job made and with which settings, kept in the job's folder so that it can be found, shown and used again."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORD, UPLOADS = "job.json", "inputs"
"""In a job's folder: the record, and the folder of the files that the visitor gave."""
PICTURES, SOUNDS, FILMS = (".png", ".jpg", ".webp", ".gif"), (".wav",), (".mp4",)
HIDDEN = ("metrics.jsonl", "config.yaml", "tree.json", "before.png", RECORD)
"""Files of a job's folder that serve the app, or repeat what the record says."""
NAMES = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Task:
    """What a visitor asks for, as its record keeps it.

    Args:
        tab: name of the tab.
        title: what the list of results calls it.
        settings: values by the names of the tab's controls.
        uploads: files among them, which are copied to the job's folder.
    """

    tab: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, str | Sequence[str] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A finished job."""

    folder: Path
    tab: str
    job: str
    """Name of the function that did it."""
    title: str
    time: float
    """When it was done, in seconds since 1970."""
    settings: dict[str, Any]
    """By the names of the tab's controls; files are paths."""
    made: dict[str, Any]
    """What the job returned; files are paths."""

    @property
    def id(self) -> str:
        """Its name among the visitor's."""
        return self.folder.name

    @property
    def when(self) -> str:
        """When it was done."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time))

    def files(self) -> list[Path]:
        """All files that the job made and that a visitor may want, at most three folders deep."""
        paths = [path for pattern in ("*", "*/*", "*/*/*") for path in self.folder.glob(pattern) if path.is_file()]
        wanted = [path for path in paths if path.name not in HIDDEN and UPLOADS not in path.parts[-3:-1]]
        return sorted(wanted, key=lambda path: (len(path.parts), path.name))

    def pictures(self) -> list[Path]:
        """Of its files, the pictures and films of pictures."""
        return [path for path in self.files() if path.suffix in PICTURES]

    def thumbnail(self) -> Path | None:
        """The picture that represents it."""
        preferred = self.made.get("thumbnail")
        if isinstance(preferred, str) and Path(preferred).is_file():
            return Path(preferred)
        return next(iter(self.pictures()), None)

    def holds(self, words: str) -> bool:
        """Whether every word occurs in its title, its tab or its settings."""
        plain = {key: value for key, value in self.settings.items() if not _is_file(value)}
        text = f"{self.title} {self.tab} {self.job} {plain} {self.when}".lower()
        return all(word in text for word in words.lower().split())


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(os.sep)


def save(folder: Path, task: Task, job: str, made: dict[str, Any]) -> Record:
    """Write a job's record, and copy the files that were given to it next to what it made."""
    uploads = {name: _copied(given, folder / UPLOADS) for name, given in task.uploads.items()}
    settings = task.settings | uploads
    saved = {
        "tab": task.tab, "job": job, "title": task.title, "time": time.time(),
        "settings": _outward(settings, folder), "made": _outward(made, folder),
    }  # fmt: skip
    temporary = folder / f".{RECORD}"
    temporary.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    temporary.replace(folder / RECORD)
    return Record(folder, task.tab, job, task.title, saved["time"], settings, made)


def _copied(given: str | Sequence[str] | None, folder: Path) -> Any:
    if given is None:
        return None
    if not isinstance(given, str):
        return [_copied(one, folder) for one in given]
    source, i = Path(given), 1
    if source.parent == folder:
        return given
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    while target.exists():
        i += 1
        target = folder / f"{source.stem}-{i}{source.suffix}"
    shutil.copyfile(source, target)
    return str(target)


def _outward(value: Any, folder: Path) -> Any:
    """A value for JSON; paths inside the folder are written relative to it."""
    if isinstance(value, dict):
        return {key: _outward(one, folder) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_outward(one, folder) for one in value]
    if isinstance(value, Path) or _is_file(value):
        path = Path(value)
        return {"file": str(path.relative_to(folder))} if path.is_relative_to(folder) else None
    return value


def _inward(value: Any, folder: Path) -> Any:
    if isinstance(value, dict) and value.keys() == {"file"}:
        return str(folder / value["file"])
    if isinstance(value, dict):
        return {key: _inward(one, folder) for key, one in value.items()}
    return [_inward(one, folder) for one in value] if isinstance(value, list) else value


def load(folder: Path) -> Record | None:
    """The record of a job's folder, if it has one."""
    try:
        saved = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        settings, made = (_inward(saved[key], folder) for key in ("settings", "made"))
        return Record(folder, saved["tab"], saved["job"], saved["title"], saved["time"], settings, made)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def listed(folder: Path, words: str = "") -> list[Record]:
    """The records in a visitor's folder that hold some words, the latest first."""
    found = [load(path.parent) for path in folder.glob(f"*/{RECORD}")]
    chosen = [record for record in found if record is not None and record.holds(words)]
    return sorted(chosen, key=lambda record: (record.time, record.id), reverse=True)


def named(folder: Path, name: str) -> Record | None:
    """A visitor's record of that name, if there is one; no name leads out of the visitor's folder."""
    return load(folder / name) if NAMES.fullmatch(name) and not name.startswith(".") else None


def bundle(records: Iterable[Record], path: Path) -> Path:
    """A zip file of records: a folder for each, with the files, those that were given, and the settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in records:
            given = [one for one in (record.folder / UPLOADS).glob("*") if one.is_file()]
            for file in (record.folder / RECORD, *record.files(), *given):
                archive.write(file, f"{record.id}/{file.relative_to(record.folder)}")
    return path


def expire(folders: Iterable[Path], hours: float) -> list[Path]:
    """Delete what is in visitors' folders and has not been changed for some hours; what was deleted."""
    limit, deleted = time.time() - 3600 * hours, []
    for visitor in folders:
        for folder in filter(Path.is_dir, visitor.iterdir()):
            changed = max((path.stat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
            if changed < limit:
                shutil.rmtree(folder, ignore_errors=True)
                deleted.append(folder)
        if not any(visitor.iterdir()):
            visitor.rmdir()
    return deleted
