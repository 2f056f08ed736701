"""What a program does with an input: its answer, and every fault by which it could have harmed its user."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import re
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS, WALL = 20, 120
"""Time that an input may take: of the processor, and by the clock, which other programs slow down."""
MEMORY, IDLE = 1_500_000, 600_000
"""Memory that a process may have while it works on an input, and has of it after its imports, kB."""
RAW = re.compile(
    r"codec can't|invalid literal|could not convert|has no attribute|not subscriptable|NoneType|unsupported operand"
    r"|list index|out of range$|Expected |size mismatch|must match the size|allocate|Errno|unexpected keyword"
    r"|positional argument|cannot reshape|broadcast|not iterable|object is|mat1|Traceback|not supported between"
    r"|takes no |unhashable|KeyError|embedded null|division by zero|Kernel size|\[enforce|aten::|\bnan dB|Unable to"
    r"|Invalid argument|[Cc]annot cast|argument must be|has invalid|0x[0-9a-f]{6}"
)
"""Words of Python and of libraries, which say what failed inside, and not what to do."""


class Hung(BaseException):
    """An input takes too long."""


@dataclass
class Answer:
    """What came of an input."""

    about: str
    """The input in words."""
    said: str = ""
    """What the program printed on stderr, or the message of its refusal."""
    code: int | None = None
    seconds: float = 0.0
    """Of the processor."""
    grown: int = 0
    """Most memory beyond that at the beginning, kB."""
    faults: list[str] = field(default_factory=list)


def watched(
    about: str, work: Callable[[], tuple[int, str]], folder: Path, outputs: list[Path], *,
    names: Sequence[str] | None = None,
) -> Answer:  # fmt: skip
    """Do some work, and look at what it does.

    Args:
        about: the input in words.
        work: returns an exit code and the refusal, if any.
        folder: with everything that the work may read; it is compared with what it was before.
        outputs: what the work may write.
        names: options and values, one of which a refusal must name; None where it need not.
    """
    answer = Answer(about)
    others = multiprocessing.active_children()
    before, begun = contents(folder, outputs), time.process_time()
    _reset_peak()
    started = peak()
    try:
        with _alarms(), warnings.catch_warnings():
            warnings.simplefilter("error")
            _ignore_others()
            answer.code, answer.said = work()
    except Hung:
        answer.faults.append(f"took more than {SECONDS} seconds of the processor, or {WALL} by the clock")
    except Exception:
        answer.faults.append("a traceback:\n" + traceback.format_exc())
    answer.seconds, answer.grown = time.process_time() - begun, peak() - started
    if answer.grown > MEMORY - IDLE:
        answer.faults.append(f"took {answer.grown / 1e6:.2f} GB of memory")
    after = contents(folder, outputs)
    if changed := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
        answer.faults.append(f"changed files that are no output: {', '.join(changed[:5])}")
    if left := [str(path) for output in outputs for path in _hidden(output)]:
        answer.faults.append(f"left behind {', '.join(left[:5])}")
    if children := [child for child in multiprocessing.active_children() if child not in others]:
        answer.faults.append(f"left processes: {children}")
        for child in children:
            child.kill()
            child.join()
    if answer.code not in (0, None):
        answer.faults += _unclear(answer.said, names)
    return answer


def contents(folder: Path, outputs: list[Path]) -> dict[str, bytes]:
    """Files below a folder that are no output, with what is in them, and its folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not any(path == output or output in path.parents or path in output.parents for output in outputs):
            found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else b"a folder"
    return found


def _hidden(output: Path) -> Iterator[Path]:
    """Temporary files in an output, or beside it."""
    near = list(output.rglob(".*")) if output.is_dir() else []
    beside = output.parent.glob(f".{glob_escape(output.stem)}.*") if output.parent.is_dir() else []
    return (path for path in (*near, *beside))


def glob_escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _unclear(said: str, names: Sequence[str] | None) -> list[str]:
    """What is wrong with the words of a refusal."""
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said:
        return ["a traceback was printed"]
    if said.startswith("usage"):
        return []
    if len(lines) != 1:
        return [f"{len(lines)} errors were printed instead of one"]
    message = said[said.index(lines[0]) :].strip()
    if "\n" in message:
        return ["the error has several lines"]
    # What is quoted, and what a library said, in brackets, explains our own words.
    ours = re.sub(r"'[^']*'|\([^()]*(\([^()]*\)[^()]*)*\)", "", message)
    if found := RAW.search(ours):
        return [f"the error has words of a library: {found[0]!r}: {message}"]
    if names is None:
        return []
    # The name of an option or setting, or of a file, with or without its ending.
    plain = message.lower().replace("-", "_")
    parts = {
        part.lower().replace("-", "_")
        for name in names
        for part in (" ".join(name.splitlines()), repr(name)[1:-1], name.strip("-"), *name.strip("-").split("."))
    }
    named = any(part and part in plain for part in parts)
    return [] if named else [f"the error names neither a file nor an option: {message}"]


@contextlib.contextmanager
def _alarms() -> Iterator[None]:
    def hung(*_: object) -> None:
        raise Hung

    signals = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WALL)}
    earlier = {number: signal.signal(number, hung) for number in signals}
    for timer, seconds in signals.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in signals.values():
            signal.setitimer(timer, 0)
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _ignore_others() -> None:
    """Warnings that are no fault of this package; those of its tests, in pyproject.toml."""
    libraries = "(torch|diffusers|transformers|accelerate|tensorboard|jaxtyping|matplotlib|huggingface_hub).*"
    for kind in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=kind, module=libraries)
    warnings.filterwarnings("ignore", message="__array_wrap__ must accept")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    warnings.filterwarnings("ignore", category=ResourceWarning)


def _reset_peak() -> None:
    """Linux alone can forget the largest memory so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory since the peak was reset, kB; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in ``folder``, with temporary files in it."""
    import tempfile

    earlier, place = Path.cwd(), tempfile.tempdir
    (folder / "tmp").mkdir(exist_ok=True)
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    try:
        yield
    finally:
        os.chdir(earlier)
        tempfile.tempdir = place


def command(words: list[str]) -> tuple[int, str]:
    """Run a command line of mapfield in this process: its exit code and what it said on stderr."""
    from mapfield.cli import main

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(words)
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
        return code, "usage" if code == 2 else errors.getvalue()
    return code, errors.getvalue()
