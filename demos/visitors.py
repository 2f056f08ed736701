"""What the tabs of the app share: visitors, their folders, and running a job in the worker."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import records
from .jobs import Cancelled, JobError, Progress, Waiting, Worker
from .limits import LONGEST_TEXT, Limits
from .records import Record, Task
from .tabs.editing_models import Category, Editors

if TYPE_CHECKING:
    import gradio as gr  # otherwise where a page needs it: the worker's process starts sooner without

VISITOR = re.compile(r"[0-9a-f]{32}")
FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"]+/)+")
"""Of this machine, in messages: no visitor's business."""
State = Waiting | Progress | str
"""What a page shows of a job that has not ended; a text where the page's own process does it."""


def refusal(message: str) -> gr.Error:
    """The error that a visitor gets: on the page a message next to the button, for a program an exception."""
    import gradio as gr

    return gr.Error(message, visible=False, print_exception=False)


@contextmanager
def refusals() -> Iterator[None]:
    """Errors of the library inside this block become errors that a visitor gets."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise refusal(FOLDERS.sub("", str(error))) from None


@dataclass(frozen=True)
class Studio:
    """The app's place on disk and its worker.

    Args:
        root: folder of all results, one folder for each visitor in it.
        models: text-to-image models that visitors may choose of; nothing else is loaded, whatever they upload.
        sounds: generators of sounds that visitors may choose of; likewise.
        categories: category models that visitors may choose of; likewise.
        limits: what a visitor may ask.
    """

    root: Path
    models: tuple[str, ...] = ("nano",)
    sounds: tuple[str, ...] = ("nano",)
    categories: tuple[Category, ...] = ()
    worker: Worker = field(default_factory=Worker)
    editors: Editors = field(default_factory=Editors)
    limits: Limits = field(default_factory=Limits)

    def work(
        self, visitor: str, work: Callable[..., dict[str, Any]], task: Task, *, steps: int | None = None,
        watch: Sequence[Path] = (), **arguments: Any,
    ) -> Generator[State, None, Record]:  # fmt: skip
        """Run ``work(folder=..., **arguments)`` for a visitor in a new folder of theirs, and keep its record.

        A job that gives no result leaves nothing behind.

        Args:
            visitor: their number.
            work: what the worker runs; returns the values to keep, paths of files among them.
            task: what the record says of it.
            steps: how many the job takes, where it counts them.
            watch: further folders in which it counts them.
            **arguments: of ``work``.

        Raises:
            Cancelled: the visitor cancelled it.
            gr.Error: the job gave no result; the message says why.
        """
        folder = self.fresh(visitor, work.__name__)
        made: dict[str, Any] | None = None
        try:
            made = yield from self.look(visitor, work, task.tab, steps=steps, watch=watch, folder=folder, **arguments)
            for checkpoints in list(folder.rglob("checkpoints")):
                shutil.rmtree(checkpoints)  # to go on with, which no page does
            return records.save(folder, task, work.__name__, made)
        finally:
            if made is None:
                shutil.rmtree(folder, ignore_errors=True)

    def look(
        self, visitor: str, work: Callable[..., dict[str, Any]], tab: str, *, steps: int | None = None, **arguments: Any
    ) -> Generator[State, None, dict[str, Any]]:
        """Run ``work(**arguments)`` for a visitor; nothing is kept. Arguments and errors are those of `work`."""
        self.folder(visitor)  # refuses who has no number
        made: dict[str, Any] = {}
        try:
            for state in self.worker.run(visitor, work, tab=tab, **arguments):
                if isinstance(state, Progress):
                    yield replace(state, steps=steps)
                elif isinstance(state, Waiting):
                    yield state
                else:
                    made = state
        except Cancelled:
            raise
        except JobError as error:
            raise refusal(FOLDERS.sub("", str(error))) from None
        return made

    def cancel(self, visitor: str, tab: str | None = None) -> str:
        """Take back a visitor's jobs, waiting or running, of one tab or of all; what there is to say of it."""
        jobs = self.worker.cancel(visitor, tab)
        return "Cancelling ..." if jobs else "None of your jobs is waiting or running."

    def folder(self, visitor: str) -> Path:
        """Where a visitor's results are.

        Raises:
            gr.Error: that is no visitor's number.
        """
        if not is_visitor(visitor):
            raise refusal("this page has lost its visitor's number; load it again")
        return self.root / visitor

    def fresh(self, visitor: str, job: str) -> Path:
        """A folder that is not there yet, for a job of a visitor.

        Raises:
            gr.Error: that is no visitor's number.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{job}"
        names = (name if i == 1 else f"{name}-{i}" for i in count(1))
        return next(path for path in map(self.folder(visitor).joinpath, names) if not path.exists())

    def results(self, visitor: str, words: str = "") -> list[Record]:
        """A visitor's finished jobs that hold some words, the latest first."""
        folder = self.folder(visitor)
        return records.listed(folder, words) if folder.is_dir() else []

    def record(self, visitor: str, name: str | None) -> Record:
        """A visitor's finished job.

        Raises:
            gr.Error: there is none of that name.
        """
        found = records.named(self.folder(visitor), name) if name else None
        if found is None:
            raise refusal("that result is not there any more; choose another one")
        return found

    def delete(self, visitor: str, name: str | None = None) -> None:
        """Delete one of a visitor's finished jobs, or all that the app keeps of them.

        Raises:
            gr.Error: there is none of that name.
        """
        shutil.rmtree(self.folder(visitor) if name is None else self.record(visitor, name).folder, ignore_errors=True)

    def tidy(self) -> list[Path]:
        """Delete results that are older than the limits say; what was deleted."""
        visitors = [path for path in self.root.glob("*") if VISITOR.fullmatch(path.name) and path.is_dir()]
        return records.expire(visitors, self.limits.keep_hours)

    def check_picture(self, file: str | None, missing: str) -> str:
        """An uploaded picture that can be read; asked before its job waits.

        Args:
            file: its path, None where there is none.
            missing: what to say then.

        Raises:
            gr.Error: it is missing, damaged or too large.
        """
        from PIL import Image

        from pipelines import load_images

        if not file:
            raise refusal(missing)
        try:
            with Image.open(file) as picture:
                pixels = picture.width * picture.height
        except Exception:
            pixels = 0  # the library says why
        if pixels > 1e6 * self.limits.megapixels:
            raise refusal(
                f"{Path(file).name} has {pixels / 1e6:.0f} megapixels; at most {self.limits.megapixels:g} are possible,"
                " so make it smaller"
            )
        with refusals():
            load_images([file])
        return file


def is_visitor(visitor: Any) -> bool:
    """Whether that is a visitor's number."""
    return isinstance(visitor, str) and VISITOR.fullmatch(visitor) is not None


def check_text(text: str | None, name: str) -> str:
    """A text that is not too long; "" for none.

    Raises:
        gr.Error: it is.
    """
    text = text or ""
    if len(text) > LONGEST_TEXT:
        raise refusal(f"the {name} has {len(text)} characters; at most {LONGEST_TEXT} are possible, so shorten it")
    return text


def new_visitor() -> str:
    """A number that nobody guesses."""
    return secrets.token_hex(16)
