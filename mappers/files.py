"""Files that appear whole or not at all and replace no other, and the files and output folders of a user."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

DAMAGED_ARRAY = (
    ValueError, TypeError, OSError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy raises for a .npy or .npz file that is damaged, is none, or claims to be of any size."""


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
        raise OSError(f"could not write {path}: {_reason(error)}; make room or choose another folder") from error
    finally:
        with suppress(OSError):  # most often there is nothing left to remove
            temporary.unlink()


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """A new folder to fill instead of ``path``; it takes that name when the block ends without an error.

    Raises:
        OSError: the folder is not writable or the disk is full; the message names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {path}: {_reason(error)}; make room or choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_taken(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a file to write that would replace another one. To be called before any work is done.

    Args:
        path: the file that will be written.
        overwrite: a plain file of that name may be replaced.

    Raises:
        FileExistsError: a file, a folder or a device has that name.
    """
    path = Path(path)
    _refuse_below_file(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no plain file and would be replaced by one; choose another name")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another name, or replace it with --overwrite")


def refuse_filled(folder: str | Path, *, besides: Sequence[str] = (), overwrite: bool = False) -> None:
    """Refuse a folder to write to that has files in it, hidden ones aside. To be called before any work is done.

    Args:
        folder: where files will be written.
        besides: names that may be there.
        overwrite: the folder may have files, and those of the same names may be replaced.

    Raises:
        FileExistsError: it has files, or is none.
    """
    folder = Path(folder)
    _refuse_below_file(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose a new or empty folder")
    if overwrite or not folder.is_dir():
        return
    if any(not child.name.startswith(".") and child.name not in besides for child in folder.iterdir()):
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


def check_outputs(
    files: Iterable[str | Path] = (),
    *,
    folders: Iterable[str | Path] = (),
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
) -> None:
    """Refuse outputs that would replace a file. To be called before any work is done.

    Args:
        files: files that will be written.
        folders: folders that will get files of any names.
        inputs: files and folders that are read; ``overwrite`` does not allow to replace them.
        overwrite: see `refuse_taken` and `refuse_filled`.

    Raises:
        FileExistsError: an output is an input, or is refused by `refuse_taken` or `refuse_filled`.
    """
    files, folders, read = ([Path(path).expanduser() for path in paths] for paths in (files, folders, inputs))
    for output in (*files, *folders):
        if any(_same(output, path) for path in read):
            raise FileExistsError(f"the output {output} is also an input, and would replace it; choose another name")
    for output in files:
        refuse_taken(output, overwrite=overwrite)
    for output in folders:
        refuse_filled(output, overwrite=overwrite)


def read_text(path: str | Path) -> str:
    """The text of a file that a user wrote, with or without the mark that Windows puts at its beginning.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not text in UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}); save it in that encoding") from error


def files_in(folder: str | Path, endings: Sequence[str] = (), *, recursive: bool = False) -> list[Path]:
    """The visible files of a folder, sorted.

    Names that begin with a dot are left out: among them are the "._" files in which macOS keeps a file's attributes,
    and which have the ending of that file.

    Args:
        folder: an existing folder.
        endings: lower case, with the dot; files of other endings are left out. Empty: any ending.
        recursive: also those of its folders.
    """
    folder = Path(folder)
    found = (path for path in (folder.rglob("*") if recursive else folder.iterdir()) if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (not endings or path.suffix.lower() in endings)
    )


def _refuse_below_file(path: Path) -> None:
    """Refuse a path in what is a file and no folder.

    Raises:
        FileExistsError: it is.
    """
    above = next((parent for parent in path.parents if parent.exists()), path.parent)
    if above.exists() and not above.is_dir():
        raise FileExistsError(
            f"{path} cannot be written, because {above} is a file and no folder; choose another place"
        )


def _reason(error: Exception) -> str:
    """Why writing failed, without the number of the error and the temporary name."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _same(path: Path, other: Path) -> bool:
    """Whether two paths are one file; also under two spellings that the file system takes for one."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
