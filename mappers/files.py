"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to in place of ``path``, whose file takes that name when the block ends without an error.

    Its ending is that of ``path``, its folder is made when needed, and its name is the process's own.

    Raises:
        OSError: the folder is not writable or the disk is full; the message names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {path}: {error}; make room or choose another folder") from error
    finally:
        with suppress(OSError):  # most often there is nothing left to remove
            temporary.unlink()
