"""Files that appear whole or not at all and replace no other, and folders that can be written to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to instead of ``path``, whose file takes that name when the block ends without an error.

    The temporary file has the ending of ``path`` and a name of this process's own; its folder is made when needed. The
    file gets the permissions of other new files of this process: safetensors would write it for its owner alone.

    Raises:
        OSError: the folder is not writable or the disk is full; the message names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {path}: {error}; make room or choose another folder") from error
    finally:
        with suppress(OSError):  # most often there is nothing left to remove
            temporary.unlink()


def refuse_taken(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a file to write that would replace another one. To be called before any work is done.

    Args:
        path: the file that will be written.
        overwrite: a plain file of that name may be replaced.

    Raises:
        FileExistsError: a file, a folder or a device has that name.
    """
    path = Path(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no plain file and would be replaced by one; choose another name")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another name, or replace it with --overwrite")


def refuse_filled(folder: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a folder to write to that has files in it, hidden ones aside. To be called before any work is done.

    Args:
        folder: where files will be written.
        overwrite: the folder may have files, and those of the same names may be replaced.

    Raises:
        FileExistsError: it has files, or is none.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose a new or empty folder")
    if not overwrite and folder.is_dir() and any(not child.name.startswith(".") for child in folder.iterdir()):
        raise FileExistsError(f"{folder} has files in it; choose a new or empty folder")


def writable_folder(path: str | Path) -> Path:
    """The folder, made when needed and tried before any work is done whose result could then not be written.

    Raises:
        OSError: nothing can be written there.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"cannot write to the output folder {path} ({error.strerror}); choose another") from error
    return path
